import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.concurrent.ThreadLocalRandom;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An account of a greenroom server with {@code --test-api=on}, for tests in Java. It needs no library; with one for JSON, use that
 * instead of {@link #text}.
 */
public final class Greenroom {
    private static final HttpClient HTTP = HttpClient.newHttpClient();

    private final String endpoint;
    private final String account;

    /** An account of its own for a test. Its access key is its number, with the secret {@code test}. */
    public Greenroom(String endpoint) {
        this.endpoint = endpoint;
        this.account = Long.toString(ThreadLocalRandom.current().nextLong(100_000_000_000L, 1_000_000_000_000L));
    }

    public String account() {
        return account;
    }

    /** Sends JSON to the test API; returns the JSON of the response. */
    public String call(String method, String path, String json) {
        URI uri = URI.create(endpoint + "/_greenroom/test" + path + "?account=" + account + "&region=us-east-1");
        HttpRequest request = HttpRequest.newBuilder(uri)
                .header("content-type", "application/json")
                .method(method, json.isEmpty() ? BodyPublishers.noBody() : BodyPublishers.ofString(json))
                .build();
        try {
            var response = HTTP.send(request, BodyHandlers.ofString());
            if (response.statusCode() < 300) return response.body();
            String code = response.headers().firstValue("x-amzn-errortype").orElse("UnknownError");
            throw new IllegalStateException(code + ": " + text(response.body(), "message"));
        } catch (IOException error) {
            throw new IllegalStateException("no response from " + endpoint, error);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(error);
        }
    }

    /** Creates a stage, and returns its ARN. */
    public String stage(String name) {
        return text(call("POST", "/seed", "{\"stages\": [{\"name\": \"" + name + "\"}]}"), "arn");
    }

    /** A simulated participant joins and publishes; returns its id. */
    public String join(String stage, String userId) {
        String json = "{\"stage\": \"" + stage + "\", \"userId\": \"" + userId + "\", \"publish\": true}";
        return text(call("POST", "/participants", json), "participantId");
    }

    /** Makes an operation fail once with an exception of the AWS API. */
    public void failOnce(String operation, String exception) {
        String json = "{\"match\": {\"operation\": \"" + operation + "\"}, \"effect\": {\"exception\": \"" + exception + "\"}, \"count\": 1}";
        call("POST", "/faults", json);
    }

    /** Whether an event of this name happened, within five seconds. */
    public boolean waitForEvent(String name) {
        String json = "{\"event\": {\"detail\": {\"event_name\": [\"" + name + "\"]}}, \"timeoutSeconds\": 5}";
        return call("POST", "/wait", json).contains("\"matched\":true");
    }

    /** Deletes all resources of the account. */
    public void reset() {
        call("POST", "/reset", "");
    }

    /** A member of text in a JSON document, without escapes. */
    static String text(String json, String member) {
        Matcher found = Pattern.compile("\"" + member + "\"\\s*:\\s*\"([^\"]*)\"").matcher(json);
        if (!found.find()) throw new IllegalStateException("no member " + member + " in " + json);
        return found.group(1);
    }
}
