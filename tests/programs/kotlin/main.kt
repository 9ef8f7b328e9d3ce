// Runs the program of docs/elsewhere.md over upright photos: LEAVES ANSWERS PHOTO...
import ai.onnxruntime.OrtEnvironment
import android.graphics.Bitmap
import java.io.File
import java.util.Locale
import java.util.Properties
import javax.imageio.ImageIO
import org.json.JSONObject

fun main(arguments: Array<String>) {
    val leaves = Properties().also { File(arguments[0]).reader().use(it::load) }
    val session = OrtEnvironment.getEnvironment().createSession(ByteArray(0))
    File(arguments[1]).printWriter().use { answers ->
        for (photo in arguments.drop(2)) {
            for ((name, score) in label(Bitmap(ImageIO.read(File(photo))), JSONObject(leaves, ""), session)) {
                answers.println("$photo\t%.6f\t$name".format(Locale.ROOT, score))
            }
        }
    }
}
