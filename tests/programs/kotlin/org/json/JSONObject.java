package org.json;

import java.util.Properties;

/** A part of a document that is given as its leaves, such as {@code preprocess.crop=112}. */
public class JSONObject {
    private final Properties leaves;
    private final String prefix;

    public JSONObject(Properties leaves, String prefix) {
        this.leaves = leaves;
        this.prefix = prefix;
    }

    public JSONObject getJSONObject(String name) throws JSONException {
        return new JSONObject(leaves, prefix + name + ".");
    }

    public JSONArray getJSONArray(String name) throws JSONException {
        return new JSONArray(leaves, prefix + name + ".");
    }

    public int getInt(String name) throws JSONException {
        return Integer.parseInt(leaf(leaves, prefix + name));
    }

    public double getDouble(String name) throws JSONException {
        return Double.parseDouble(leaf(leaves, prefix + name));
    }

    static String leaf(Properties leaves, String path) throws JSONException {
        String value = leaves.getProperty(path);
        if (value == null) {
            throw new JSONException("No value for " + path);
        }
        return value;
    }
}
