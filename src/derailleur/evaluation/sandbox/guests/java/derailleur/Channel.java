package derailleur;

import java.io.ByteArrayOutputStream;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** Lines to and from the supervisor, on descriptor 3. */
final class Channel {
    private final FileInputStream in;
    private final FileOutputStream out;

    Channel() {
        FileDescriptor descriptor = Platform.descriptor(3);
        in = new FileInputStream(descriptor);
        out = new FileOutputStream(descriptor);
    }

    void say(String line) {
        try {
            out.write((line + "\n").getBytes(StandardCharsets.UTF_8));
        } catch (IOException error) {
            Runtime.getRuntime().halt(1);
        }
    }

    /** The next line; the process ends where there is none. */
    String hear() {
        try {
            ByteArrayOutputStream line = new ByteArrayOutputStream();
            byte[] block = new byte[1 << 16];
            // The supervisor waits for an answer to each line, so that nothing follows a newline.
            while (true) {
                int length = in.read(block);
                if (length < 0) {
                    Runtime.getRuntime().halt(0);
                }
                line.write(block, 0, length);
                if (block[length - 1] == '\n') {
                    return line.toString(StandardCharsets.UTF_8).stripTrailing();
                }
            }
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }
}
