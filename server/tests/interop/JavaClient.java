// The cases of `cases.mjs` for java.net.http's WebSocket, which offers no extensions.

import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;

public class JavaClient {
    static final String BASE = System.getenv("URL_BASE");
    static final String[] TEXTS = {"hello", "", "Zoë, комната, 部屋, 🧵", "loom ".repeat(12000)};
    static final int[] SIZES = {0, 1, 125, 126, 65535, 65536};
    static final int PATIENCE_S = 8;

    interface Case {
        void run() throws Exception;
    }

    record End(int code, String reason) {}

    record Pong(ByteBuffer payload) {}

    /** What arrives, whole messages only, in order. */
    static class Talk implements WebSocket.Listener {
        final BlockingQueue<Object> arrived = new LinkedBlockingQueue<>();
        final StringBuilder text = new StringBuilder();
        ByteBuffer binary = ByteBuffer.allocate(1 << 17);
        WebSocket socket;

        @Override
        public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean last) {
            text.append(part);
            if (last) {
                arrived.add(text.toString());
                text.setLength(0);
            }
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onBinary(WebSocket socket, ByteBuffer part, boolean last) {
            binary.put(part);
            if (last) {
                arrived.add(Arrays.copyOf(binary.array(), binary.position()));
                binary.clear();
            }
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onPong(WebSocket socket, ByteBuffer payload) {
            ByteBuffer copy = ByteBuffer.allocate(payload.remaining());
            arrived.add(new Pong(copy.put(payload).flip()));
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
            arrived.add(new End(code, reason));
            return null;
        }

        @Override
        public void onError(WebSocket socket, Throwable error) {
            arrived.add(error);
        }

        Object next() throws Exception {
            Object next = arrived.poll(PATIENCE_S, TimeUnit.SECONDS);
            if (next == null) throw new Exception("nothing for " + PATIENCE_S + " s");
            if (next instanceof Throwable error) throw new Exception(error);
            return next;
        }

        void finish(int code, String reason) throws Exception {
            await(socket.sendClose(code, reason));
            expect("the end", next(), new End(code, reason));
        }
    }

    static <T> T await(CompletionStage<T> stage) throws Exception {
        return stage.toCompletableFuture().get(PATIENCE_S, TimeUnit.SECONDS);
    }

    static void expect(String what, Object found, Object expected) throws Exception {
        if (!found.equals(expected)) {
            throw new Exception(what + " is " + brief(found) + ", not " + brief(expected));
        }
    }

    static String brief(Object value) {
        String text = String.valueOf(value);
        return text.length() > 200 ? text.substring(0, 200) : text;
    }

    static byte[] pattern(int length) {
        byte[] bytes = new byte[length];
        for (int index = 0; index < length; index += 1) {
            bytes[index] = (byte) (index * 31 + (index >> 8));
        }
        return bytes;
    }

    /** The union type in field 0 of a FlatBuffers envelope. */
    static int kindOf(Object message) throws Exception {
        if (!(message instanceof byte[] bytes)) throw new Exception("no binary message: " + message);
        ByteBuffer view = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        int table = view.getInt(0);
        return view.get(table + view.getShort(table - view.getInt(table) + 4));
    }

    static SSLContext trustsEverybody() throws Exception {
        TrustManager manager = new X509ExtendedTrustManager() {
            public void checkClientTrusted(X509Certificate[] c, String a, Socket s) {}
            public void checkServerTrusted(X509Certificate[] c, String a, Socket s) {}
            public void checkClientTrusted(X509Certificate[] c, String a, SSLEngine e) {}
            public void checkServerTrusted(X509Certificate[] c, String a, SSLEngine e) {}
            public void checkClientTrusted(X509Certificate[] c, String a) {}
            public void checkServerTrusted(X509Certificate[] c, String a) {}
            public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
        };
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] {manager}, new SecureRandom());
        return context;
    }

    final HttpClient client;

    JavaClient() throws Exception {
        HttpClient.Builder builder = HttpClient.newBuilder();
        if (BASE.startsWith("wss")) builder.sslContext(trustsEverybody());
        client = builder.build();
    }

    Talk connect(String path, String... protocols) throws Exception {
        WebSocket.Builder builder = client.newWebSocketBuilder();
        if (protocols.length > 0) {
            String[] others = Arrays.copyOfRange(protocols, 1, protocols.length);
            builder.subprotocols(protocols[0], others);
        }
        Talk talk = new Talk();
        talk.socket = await(builder.buildAsync(URI.create(BASE + path), talk));
        return talk;
    }

    void text() throws Exception {
        Talk talk = connect("/echo");
        for (String sent : TEXTS) {
            await(talk.socket.sendText(sent, true));
            expect("text", talk.next(), sent);
        }
        talk.finish(1000, "");
    }

    void binary() throws Exception {
        Talk talk = connect("/echo");
        for (int size : SIZES) {
            byte[] sent = pattern(size);
            await(talk.socket.sendBinary(ByteBuffer.wrap(sent), true));
            if (!(talk.next() instanceof byte[] received) || !Arrays.equals(received, sent)) {
                throw new Exception(size + " bytes came back differently");
            }
        }
        talk.finish(1000, "done");
    }

    void burst() throws Exception {
        Talk talk = connect("/echo");
        for (int index = 0; index < 200; index += 1) {
            await(talk.socket.sendText("message " + index, true));
        }
        for (int index = 0; index < 200; index += 1) {
            expect("text", talk.next(), "message " + index);
        }
        talk.finish(1000, "");
    }

    void closeByTheClient() throws Exception {
        connect("/echo").finish(4001, "bye: прощай");
    }

    void closeByTheServer() throws Exception {
        Talk talk = connect("/ws", "tickloom.v1");
        await(talk.socket.sendText("text", true));
        if (!(talk.next() instanceof End end)) throw new Exception("no close");
        expect("code", end.code(), 1003);
        expect("slug", end.reason().split(":")[0], "text");
    }

    void subprotocol() throws Exception {
        String[][] rows = {{"tickloom.v1", "tickloom.v1"}, {"tickloom.v1", "chat", "tickloom.v1"}, {""}};
        for (String[] row : rows) {
            Talk talk = connect("/ws", Arrays.copyOfRange(row, 1, row.length));
            expect("chosen", talk.socket.getSubprotocol(), row[0]);
            talk.finish(1000, "");
        }
    }

    void unknownSubprotocol() throws Exception {
        try {
            connect("/ws", "chat");
        } catch (ExecutionException refused) {
            return;
        }
        throw new Exception("the handshake went through");
    }

    void join() throws Exception {
        Talk talk = connect("/ws", "tickloom.v1");
        byte[] join = Files.readAllBytes(Path.of(System.getenv("JOIN_FILE")));
        await(talk.socket.sendBinary(ByteBuffer.wrap(join), true));
        expect("kind of the first message", kindOf(talk.next()), 1);
        expect("kind of the second message", kindOf(talk.next()), 2);
        await(talk.socket.sendClose(1000, ""));
        Object next = talk.next();
        while (!(next instanceof End)) next = talk.next();
        expect("the end", next, new End(1000, ""));
    }

    void ping() throws Exception {
        Talk talk = connect("/echo");
        for (int size : new int[] {0, 4, 125}) {
            ByteBuffer sent = ByteBuffer.wrap(pattern(size));
            await(talk.socket.sendPing(sent.duplicate()));
            expect("the answer", talk.next(), new Pong(sent));
        }
        talk.finish(1000, "");
    }

    public static void main(String[] arguments) throws Exception {
        // A development certificate names nobody's host.
        System.setProperty("jdk.internal.httpclient.disableHostnameVerification", "true");
        JavaClient client = new JavaClient();
        Map<String, Case> cases = new LinkedHashMap<>();
        cases.put("text", client::text);
        cases.put("binary", client::binary);
        cases.put("burst", client::burst);
        cases.put("close by the client", client::closeByTheClient);
        cases.put("close by the server", client::closeByTheServer);
        cases.put("subprotocol", client::subprotocol);
        cases.put("unknown subprotocol", client::unknownSubprotocol);
        cases.put("join", client::join);
        cases.put("ping", client::ping);
        for (Map.Entry<String, Case> entry : cases.entrySet()) {
            try {
                entry.getValue().run();
                System.out.println(entry.getKey() + "\tok");
            } catch (Exception error) {
                System.out.println(entry.getKey() + "\tFAILED\t" + error);
            }
        }
        // The client's threads would keep the process for another minute.
        System.exit(0);
    }
}
