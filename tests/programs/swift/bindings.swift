// The few names of OnnxRuntimeBindings that the Swift program of docs/elsewhere.md uses, with their signatures.
// Whoever reads standard output and writes standard input runs the model: the pixels go out, the logits come in.
import Foundation

public enum ORTTensorElementDataType: Int32 { case float = 1, uInt8 = 3 }

public class ORTRunOptions {}

public class ORTValue {
    let data: NSMutableData
    public init(tensorData: NSMutableData, elementType: ORTTensorElementDataType, shape: [NSNumber]) throws {
        let size = shape.reduce(elementType == .float ? 4 : 1) { $0 * $1.intValue }
        guard size == tensorData.length else { throw NSError(domain: "shape", code: 1) }
        data = tensorData
    }
    public func tensorData() throws -> NSMutableData { data }
}

public class ORTSession {
    public init() {}
    public func run(withInputs inputs: [String: ORTValue], outputNames: Set<String>, runOptions: ORTRunOptions?) throws
        -> [String: ORTValue]
    {
        guard Set(inputs.keys) == ["images"], outputNames == ["logits"] else { throw NSError(domain: "names", code: 1) }
        FileHandle.standardOutput.write(inputs["images"]!.data as Data)
        let count = FileHandle.standardInput.readData(ofLength: 4).withUnsafeBytes { $0.loadUnaligned(as: UInt32.self).bigEndian }
        let logits = FileHandle.standardInput.readData(ofLength: 4 * Int(count))
        let little = logits.withUnsafeBytes { bytes in
            stride(from: 0, to: bytes.count, by: 4).map { bytes.loadUnaligned(fromByteOffset: $0, as: UInt32.self).bigEndian }
        }
        let floats = little.withUnsafeBytes { NSMutableData(bytes: $0.baseAddress!, length: $0.count) }
        return ["logits": try ORTValue(tensorData: floats, elementType: .float, shape: [1, NSNumber(value: count)])]
    }
}
