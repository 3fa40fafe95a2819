import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** The JDK's HTTP client with default settings: over plain http it offers HTTP/2 in its first request. */
class StockClient {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        URI recommend = URI.create(arguments[0] + "/recommend");
        for (int round = 0; round < 3; round++) {
            HttpRequest ask = HttpRequest.newBuilder(recommend)
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString("{\"history\": [\"item 01\"], \"k\": 1}"))
                .build();
            HttpResponse<String> answer = client.send(ask, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.body());
        }
        HttpRequest model = HttpRequest.newBuilder(URI.create(arguments[0] + "/model")).build();
        System.out.println(client.send(model, HttpResponse.BodyHandlers.ofString()).statusCode());
    }
}
