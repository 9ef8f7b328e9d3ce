package ai.onnxruntime;

import java.io.DataInputStream;
import java.io.IOException;
import java.util.Map;
import java.util.Optional;

/** Whoever reads standard output and writes standard input runs the model: the pixels go out, the logits come in. */
public class OrtSession implements AutoCloseable {
    public Result run(Map<String, ? extends OnnxTensor> inputs) throws OrtException {
        if (!inputs.keySet().equals(java.util.Set.of("images"))) {
            throw new OrtException("the model has one input, images");
        }
        try {
            System.out.write(inputs.get("images").bytes);
            System.out.flush();
            DataInputStream answer = new DataInputStream(System.in);
            float[] logits = new float[answer.readInt()];
            for (int i = 0; i < logits.length; i++) {
                logits[i] = answer.readFloat();
            }
            return new Result(logits);
        } catch (IOException error) {
            throw new OrtException(error.toString());
        }
    }

    @Override
    public void close() {}

    public static class Result implements AutoCloseable {
        private final float[] logits;

        Result(float[] logits) {
            this.logits = logits;
        }

        public Optional<OnnxValue> get(String name) {
            return name.equals("logits") ? Optional.of(new Logits(logits)) : Optional.empty();
        }

        @Override
        public void close() {}
    }

    private record Logits(float[] logits) implements OnnxValue {
        @Override
        public Object getValue() {
            return new float[][] {logits};
        }

        @Override
        public void close() {}
    }
}
