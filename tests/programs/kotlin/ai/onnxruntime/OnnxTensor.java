package ai.onnxruntime;

import java.nio.ByteBuffer;

public class OnnxTensor implements OnnxValue {
    final byte[] bytes;

    private OnnxTensor(byte[] bytes) {
        this.bytes = bytes;
    }

    public static OnnxTensor createTensor(OrtEnvironment environment, ByteBuffer data, long[] shape, OnnxJavaType type)
            throws OrtException {
        long count = 1;
        for (long side : shape) {
            count *= side;
        }
        if (shape.length != 4 || count != data.remaining() || type != OnnxJavaType.UINT8) {
            throw new OrtException("shape and data do not fit together");
        }
        byte[] bytes = new byte[data.remaining()];
        data.duplicate().get(bytes);
        return new OnnxTensor(bytes);
    }

    @Override
    public Object getValue() {
        return bytes;
    }

    @Override
    public void close() {}
}
