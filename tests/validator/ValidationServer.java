import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.hl7.fhir.utilities.validation.ValidationMessage;
import org.hl7.fhir.validation.IgLoader;
import org.hl7.fhir.validation.ValidationEngine;
import org.hl7.fhir.validation.service.PassiveExpiringSessionCache;
import org.hl7.fhir.validation.service.ValidationService;
import org.hl7.fhir.validation.service.model.FileInfo;
import org.hl7.fhir.validation.service.model.InstanceValidatorParameters;
import org.hl7.fhir.validation.service.model.ValidationEngineParameters;
import org.hl7.fhir.validation.service.model.ValidationOutcome;
import org.hl7.fhir.validation.service.model.ValidationRequest;

/**
 * The HL7 validator over HTTP, in the API of the validator image that Inferno is run with:
 * {@code POST /validate} and {@code GET /versions}. It asks no terminology server and fetches no
 * package: what it knows lies in the FHIR package cache below {@code -Duser.home}.
 *
 * <p>Arguments: the port on 127.0.0.1; the packages that every guide gets; then the sets of guides
 * to load before it listens, each with commas ("hl7.fhir.us.davinci-crd#2.0.1").
 */
public final class ValidationServer {
  private static final Gson GSON = new Gson();

  private final Guides guides;
  /** The session, and so the engine with its guides loaded, by the set of guides. */
  private final Map<List<String>, String> sessions = new HashMap<>();

  private ValidationServer(List<String> everywhere) {
    guides = new Guides(everywhere);
  }

  public static void main(String[] arguments) throws Exception {
    ValidationServer validator = new ValidationServer(commaSeparated(arguments[1]));
    for (int i = 2; i < arguments.length; i++) {
      validator.load(commaSeparated(arguments[i]));
    }
    HttpServer http =
        HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])), 0);
    // An engine is not made for several threads.
    http.setExecutor(Executors.newSingleThreadExecutor());
    http.createContext("/validate", validator::answer);
    for (String path : List.of("/versions", "/validator/version")) {
      http.createContext(path, call -> send(call, 200, "{\"validatorVersion\":\"6.10.4\"}"));
    }
    http.start();
    System.out.println("listening");
  }

  /** The validator's own service with its ways out into the network closed. */
  private static final class Guides extends ValidationService {
    private final List<String> everywhere;

    Guides(List<String> everywhere) {
      super(new PassiveExpiringSessionCache(24, TimeUnit.HOURS));
      this.everywhere = everywhere;
    }

    @Override
    protected ValidationEngine.ValidationEngineBuilder getValidationEngineBuilder() {
      return new ValidationEngine.ValidationEngineBuilder()
          .withNoTerminologyServer()
          .withCanRunWithoutTerminologyServer(true);
    }

    @Override
    protected void loadIgsAndExtensions(
        ValidationEngine engine, List<String> wanted, boolean recursive)
        throws IOException, URISyntaxException {
      IgLoader loader =
          new IgLoader(engine.getPcm(), engine.getContext(), engine.getVersion(), false);
      List<String> all = new ArrayList<>(everywhere);
      all.addAll(wanted);
      for (String guide : all) {
        loader.loadIg(engine.getIgs(), engine.getBinaries(), guide, false);
      }
    }
  }

  private void load(List<String> wanted) throws Exception {
    JsonObject context = new JsonObject();
    context.add("igs", GSON.toJsonTree(wanted));
    FileInfo nobody = new FileInfo("p.json", "{\"resourceType\":\"Patient\"}", "json");
    outcomes(context, List.of(nobody));
  }

  private void answer(HttpExchange call) throws IOException {
    try {
      byte[] body = call.getRequestBody().readAllBytes();
      JsonObject asked =
          JsonParser.parseString(new String(body, StandardCharsets.UTF_8)).getAsJsonObject();
      String context = asked.has("validationContext") ? "validationContext" : "cliContext";
      List<FileInfo> files = new ArrayList<>();
      for (JsonElement element : asked.getAsJsonArray("filesToValidate")) {
        JsonObject file = element.getAsJsonObject();
        files.add(new FileInfo(text(file, "fileName"), text(file, "fileContent"), "json"));
      }
      JsonObject reply = new JsonObject();
      JsonArray outcomes = new JsonArray();
      for (ValidationOutcome outcome : outcomes(asked.getAsJsonObject(context), files)) {
        outcomes.add(written(outcome));
      }
      reply.add("outcomes", outcomes);
      // Inferno keeps a session a validator and wants no id twice; here sessions go by guides.
      String given = text(asked, "sessionId");
      reply.addProperty("sessionId", given != null ? given : UUID.randomUUID().toString());
      send(call, 200, GSON.toJson(reply));
    } catch (Exception | StackOverflowError trouble) {
      trouble.printStackTrace();
      send(call, 500, GSON.toJson(Map.of("error", trouble.toString())));
    }
  }

  private List<ValidationOutcome> outcomes(JsonObject context, List<FileInfo> files)
      throws Exception {
    List<String> wanted = texts(context, "igs");
    ValidationEngineParameters engine = new ValidationEngineParameters();
    engine.setSv("4.0.1").setTxServer(null).setDoNative(false);
    engine.setIgs(wanted);
    engine.setDisableDefaultResourceFetcher(flag(context, "disableDefaultResourceFetcher", true));
    engine.setNoExtensibleBindingMessages(flag(context, "noExtensibleBindingMessages", false));
    InstanceValidatorParameters instance = new InstanceValidatorParameters();
    instance.setExtensions(new ArrayList<>(List.of("any")));
    instance.setAllowExampleUrls(flag(context, "allowExampleUrls", false));
    instance.setProfiles(new ArrayList<>(texts(context, "profiles")));
    ValidationRequest request = new ValidationRequest();
    request.setValidationEngineParameters(engine);
    request.setInstanceValidatorParameters(instance);
    request.setFilesToValidate(files);
    request.setSessionId(sessions.get(wanted));
    var response = guides.validateSources(request);
    sessions.put(wanted, response.getSessionId());
    return response.getOutcomes();
  }

  private static JsonObject written(ValidationOutcome outcome) {
    JsonObject file = new JsonObject();
    file.addProperty("fileName", outcome.getFileInfo().getFileName());
    file.addProperty("fileContent", outcome.getFileInfo().getFileContent());
    file.addProperty("fileType", "json");
    JsonArray issues = new JsonArray();
    for (ValidationMessage message : outcome.getMessages()) {
      issues.add(written(message));
    }
    JsonObject made = new JsonObject();
    made.add("fileInfo", file);
    made.add("issues", issues);
    return made;
  }

  private static JsonObject written(ValidationMessage message) {
    JsonObject made = new JsonObject();
    made.addProperty("source", name(message.getSource()));
    made.addProperty("line", message.getLine());
    made.addProperty("col", message.getCol());
    made.addProperty("location", message.getLocation());
    made.addProperty("message", message.getMessage());
    made.addProperty("messageId", message.getMessageId());
    made.addProperty("type", name(message.getType()));
    made.addProperty("level", name(message.getLevel()));
    made.addProperty("display", message.getDisplay());
    JsonArray slices = new JsonArray();
    if (message.getSliceInfo() != null) {
      for (ValidationMessage slice : message.getSliceInfo()) {
        slices.add(written(slice));
      }
    }
    made.add("sliceInfo", slices);
    return made;
  }

  private static String name(Enum<?> constant) {
    return constant == null ? null : constant.name();
  }

  private static String text(JsonObject object, String name) {
    return object.has(name) && !object.get(name).isJsonNull() ? object.get(name).getAsString() : null;
  }

  private static boolean flag(JsonObject object, String name, boolean otherwise) {
    String told = text(object, name);
    return told == null ? otherwise : Boolean.parseBoolean(told);
  }

  private static List<String> texts(JsonObject object, String name) {
    List<String> found = new ArrayList<>();
    if (object.has(name) && object.get(name).isJsonArray()) {
      for (JsonElement element : object.getAsJsonArray(name)) {
        if (!element.isJsonNull()) {
          found.add(element.getAsString());
        }
      }
    }
    return found;
  }

  private static List<String> commaSeparated(String text) {
    return text.isBlank() ? List.of() : List.of(text.split(","));
  }

  private static void send(HttpExchange call, int status, String body) throws IOException {
    byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
    call.getResponseHeaders().set("Content-Type", "application/json");
    call.sendResponseHeaders(status, bytes.length);
    call.getResponseBody().write(bytes);
    call.close();
  }
}
