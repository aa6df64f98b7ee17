package io.streamfleet.foreign;

import com.amazonaws.kinesisvideo.parser.ebml.InputStreamParserByteSource;
import com.amazonaws.kinesisvideo.parser.mkv.Frame;
import com.amazonaws.kinesisvideo.parser.mkv.MkvElement;
import com.amazonaws.kinesisvideo.parser.mkv.StreamingMkvReader;
import com.amazonaws.kinesisvideo.parser.utilities.FragmentMetadata;
import com.amazonaws.kinesisvideo.parser.utilities.FragmentMetadataVisitor.MkvTagProcessor;
import com.amazonaws.kinesisvideo.parser.utilities.FrameVisitor;
import com.amazonaws.kinesisvideo.parser.utilities.MkvTrackMetadata;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Optional;

/**
 * Reads a file of GetMedia or GetMediaForFragmentList with the vendor's parser: {@code ReadFrames FILE UUID}. Prints a line
 * for each frame: number of the fragment, its producer time in milliseconds, number of the track, time of the frame in
 * milliseconds (the cluster's included), 1 for a key frame or 0, SHA-256 of the frame, and its picture number ("-" for what
 * is missing). The picture number is user data with this UUID (hexadecimal) in a supplemental NAL unit of H.264, in 8 bytes.
 */
public final class ReadFrames implements FrameVisitor.FrameProcessor {
    private static final BigInteger NANOSECONDS_IN_A_MILLISECOND = BigInteger.valueOf(1_000_000);

    private final byte[] uuid;
    private final PrintStream out;

    private ReadFrames(byte[] uuid, PrintStream out) {
        this.uuid = uuid;
        this.out = out;
    }

    public static void main(String[] arguments) throws Exception {
        PrintStream out = new PrintStream(System.out, false);
        ReadFrames frames = new ReadFrames(HexFormat.of().parseHex(arguments[1]), out);
        try (InputStream in = Files.newInputStream(Path.of(arguments[0]))) {
            FrameVisitor visitor = FrameVisitor.create(frames);
            StreamingMkvReader reader = StreamingMkvReader.createDefault(new InputStreamParserByteSource(in));
            while (reader.mightHaveNext()) {
                Optional<MkvElement> element = reader.nextIfAvailable();
                if (element.isPresent()) {
                    element.get().accept(visitor);
                }
            }
        }
        out.flush();
    }

    @Override
    public void process(
            Frame frame,
            MkvTrackMetadata track,
            Optional<FragmentMetadata> fragment,
            Optional<MkvTagProcessor> tags,
            Optional<BigInteger> timecodeScale,
            Optional<BigInteger> clusterTimecode) {
        BigInteger time = clusterTimecode
                .orElseThrow()
                .add(BigInteger.valueOf(frame.getTimeCode()))
                .multiply(timecodeScale.orElse(NANOSECONDS_IN_A_MILLISECOND))
                .divide(NANOSECONDS_IN_A_MILLISECOND);
        ByteBuffer data = frame.getFrameData();
        byte[] payload = new byte[data.remaining()];
        data.get(payload);
        out.println(String.join(" ",
                fragment.map(FragmentMetadata::getFragmentNumberString).orElse("-"),
                fragment.map(metadata -> Long.toString(metadata.getProducerSideTimestampMillis())).orElse("-"),
                track.getTrackNumber().toString(),
                time.toString(),
                frame.isKeyFrame() ? "1" : "0",
                sha256(payload),
                pictureNumber(payload).map(BigInteger::toString).orElse("-")));
    }

    /** Goes through the NAL units, each after its length in four bytes. */
    private Optional<BigInteger> pictureNumber(byte[] frame) {
        int at = 0;
        while (at + 4 < frame.length) {
            int length = ByteBuffer.wrap(frame).getInt(at);
            int end = at + 4 + length;
            if (length <= 0 || end > frame.length) {
                break;
            }
            if ((frame[at + 4] & 0x1F) == 6) {
                Optional<BigInteger> number = userData(withoutEmulationPrevention(frame, at + 5, end));
                if (number.isPresent()) {
                    return number;
                }
            }
            at = end;
        }
        return Optional.empty();
    }

    /** Goes through the messages of a supplemental NAL unit. */
    private Optional<BigInteger> userData(byte[] content) {
        int[] at = {0};
        while (at[0] + 2 < content.length) {
            int kind = sum(content, at);
            int size = sum(content, at);
            int begin = at[0];
            at[0] += size;
            if (at[0] > content.length) {
                break;
            }
            if (kind == 5 && size == uuid.length + 8
                    && Arrays.equals(uuid, Arrays.copyOfRange(content, begin, begin + uuid.length))) {
                return Optional.of(new BigInteger(1, Arrays.copyOfRange(content, begin + uuid.length, begin + size)));
            }
        }
        return Optional.empty();
    }

    /** A number that is written as a sum of bytes, the last of them below 255. */
    private static int sum(byte[] content, int[] at) {
        int sum = 0;
        while (at[0] < content.length) {
            int next = content[at[0]++] & 0xFF;
            sum += next;
            if (next != 255) {
                break;
            }
        }
        return sum;
    }

    private static byte[] withoutEmulationPrevention(byte[] frame, int begin, int end) {
        ByteArrayOutputStream content = new ByteArrayOutputStream(end - begin);
        int zeros = 0;
        for (int at = begin; at < end; at++) {
            if (zeros >= 2 && frame[at] == 3) {
                zeros = 0;
                continue;
            }
            zeros = frame[at] == 0 ? zeros + 1 : 0;
            content.write(frame[at]);
        }
        return content.toByteArray();
    }

    private static String sha256(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible);
        }
    }
}
