/** Requests to the service that this page comes from. */

/** Why a request has no answer: what happened, and what to do. */
export class ServiceError extends Error {
  constructor(status, { code = "unknown", message, hint = "" }, requestId = "") {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
    this.requestId = requestId;
  }
}

/** The service. The token is kept here and nowhere else. */
export class Service {
  #token = "";

  useToken(token) {
    this.#token = token;
  }

  /** What is served, and its limits. */
  models() {
    return this.#request("v1/models", {});
  }

  /** The people in a photo, who are found unless there are boxes. */
  async predict(file, boxes, signal) {
    const answer = await this.#request("v1/predict", { method: "POST", body: form(file, boxes), signal });
    const [image] = answer.results;
    if (image.error !== null) throw new ServiceError(200, image.error);
    return { ...answer, image };
  }

  /** Why a person has these scores. */
  explain(file, boxes, { person, labels }, signal) {
    const body = form(file, boxes);
    body.append("person", String(person));
    for (const label of labels) body.append("labels", label);
    return this.#request("v1/explain", { method: "POST", body, signal });
  }

  async #request(path, options) {
    const headers = this.#token === "" ? {} : { authorization: `Bearer ${this.#token}` };
    let response;
    try {
      response = await fetch(path, { ...options, headers, cache: "no-store", redirect: "error", credentials: "omit" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServiceError(0, {
        code: "unreachable",
        message: "the service does not answer",
        hint: "check that it still runs, and that the connection works",
      });
    }
    let answer;
    try {
      answer = await response.json();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServiceError(response.status, { message: `the service answered with status ${response.status}` });
    }
    if (!response.ok) throw new ServiceError(response.status, answer.error ?? {}, answer.request_id);
    return answer;
  }
}

function form(file, boxes) {
  const body = new FormData();
  body.append("images", file, "photo"); // not the name of the file
  if (boxes !== null) body.append("boxes", JSON.stringify(boxes));
  return body;
}
