package org.json;

import java.util.Properties;

public class JSONArray {
    private final Properties leaves;
    private final String prefix;

    JSONArray(Properties leaves, String prefix) {
        this.leaves = leaves;
        this.prefix = prefix;
    }

    public String getString(int index) throws JSONException {
        return JSONObject.leaf(leaves, prefix + index);
    }
}
