// Runs the program of docs/elsewhere.md over upright photos as PPM: MANIFEST ANSWERS PHOTO...
import Foundation
import OnnxRuntimeBindings

let manifest = try JSONDecoder().decode(Manifest.self, from: Data(contentsOf: URL(fileURLWithPath: CommandLine.arguments[1])))
let session = ORTSession()
var answers = ""
for photo in CommandLine.arguments.dropFirst(3) {
    let file = try Data(contentsOf: URL(fileURLWithPath: photo))
    let fields = file.prefix(20).split(separator: 10)[1].split(separator: 32).map { Int(String(decoding: $0, as: UTF8.self))! }
    let rgb = [UInt8](file.suffix(fields[0] * fields[1] * 3))
    for (name, score) in try label(rgb, width: fields[0], height: fields[1], manifest, session) {
        answers += "\(photo)\t\(String(format: "%.6f", score))\t\(name)\n"
    }
}
try answers.write(toFile: CommandLine.arguments[2], atomically: true, encoding: .utf8)
