// What an app does with Smart Forms: show a form with its response, and take the response back.
import {
  BaseRenderer,
  RendererThemeProvider,
  buildForm,
  getResponse,
  removeEmptyAnswersFromResponse,
  useRendererQueryClient,
} from "@aehrc/smart-forms-renderer";
import { QueryClientProvider } from "@tanstack/react-query";
import { createRoot } from "react-dom/client";

function Form() {
  return (
    <RendererThemeProvider>
      <QueryClientProvider client={useRendererQueryClient()}>
        <BaseRenderer />
      </QueryClientProvider>
    </RendererThemeProvider>
  );
}

const root = createRoot(document.getElementById("form"));

window.dtrApp.renderer = {
  async show(questionnaire, questionnaireResponse, terminologyServerUrl) {
    await buildForm({ questionnaire, questionnaireResponse, terminologyServerUrl });
    // A key of its own for each form: React would keep what was typed before.
    root.render(<Form key={crypto.randomUUID()} />);
    this.questionnaire = questionnaire;
  },
  response() {
    return removeEmptyAnswersFromResponse(this.questionnaire, getResponse());
  },
};
