import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/** Kafka's own classes read the messages of write_frames.rs and write them back. Run by `agree` next to it. */
public class Agree {
  public static void main(String[] args) throws Exception {
    ByteBuffer in = ByteBuffer.wrap(Files.readAllBytes(Path.of(args[0])));
    Map<String, Integer> differ = new TreeMap<>();
    TreeSet<String> seen = new TreeSet<>();
    int agreed = 0;
    while (in.hasRemaining()) {
      short key = in.getShort();
      boolean request = in.get() == 0;
      short version = in.get();
      byte[] frame = new byte[in.getInt()];
      in.get(frame);
      String name = key + (request ? " Request v" : " Response v") + version;
      seen.add(name);
      try {
        ApiMessageType api = ApiMessageType.fromApiKey(key);
        ApiMessage message = request ? api.newRequest() : api.newResponse();
        ByteBuffer body = ByteBuffer.wrap(frame);
        message.read(new ByteBufferAccessor(body), version);
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer out = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(out), cache, version);
        if (body.hasRemaining()) differ.merge(name + " leaves bytes", 1, Integer::sum);
        else if (!Arrays.equals(out.array(), frame)) differ.merge(name + " writes other bytes", 1, Integer::sum);
        else agreed++;
      } catch (Throwable e) {
        differ.merge(name + " " + e, 1, Integer::sum);
      }
    }
    System.out.println(seen.size() + " message versions, " + agreed + " frames agree");
    differ.forEach((what, times) -> System.out.println(times + " times: " + what));
    System.exit(differ.isEmpty() && agreed > 0 ? 0 : 1);
  }
}
