"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const { token } = JSON.parse($("setup").textContent);
  const buttons = [...document.querySelectorAll("[data-answer]")];
  let question = null, since = 0, isReady = false;

  const ask = async (path, body) => {
    const options = { headers: { "X-Arena": token }, cache: "no-store" };
    if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body) }, { headers: { ...options.headers, "Content-Type": "application/json" } });
    const answer = await fetch(path, options);
    const data = await answer.json();
    if (!answer.ok) throw new Error(data.error);
    return data;
  };
  const fail = (error) => {
    $("error").textContent = `${error.message.replace(/\.$/, "")}. Is the command still running? Load this page again.`;
    $("error").hidden = false;
  };
  const ready = (is) => {
    isReady = is;
    for (const button of buttons) button.disabled = !is;
  };
  const set = (element, source) => { if (element.getAttribute("src") !== source) element.src = source; };
  const put = async (element, source) => {
    set(element, source);
    await element.decode();
  };
  const show = async (next) => {
    question = next;
    if (next.done) {
      $("vote").hidden = true;
      $("end").hidden = false;
      $("summary").textContent = next.lines.join("\n");
      return;
    }
    $("vote").hidden = false;
    $("asked").textContent = next.asked;
    $("instruction").textContent = next.instruction;
    $("progress").max = next.total;
    $("progress").value = next.answered;
    $("count").textContent = `${next.answered} of ${next.total}`;
    const sources = [...$("sources").querySelectorAll("img")];
    if (sources.map((one) => one.getAttribute("src")).join() !== next.sources.join()) {
      $("sources").replaceChildren(...next.sources.map((source, i) => {
        const [figure, picture, caption] = ["figure", "img", "figcaption"].map((tag) => document.createElement(tag));
        caption.textContent = next.sources.length > 1 ? `Image ${i + 1}` : "Source";
        picture.alt = caption.textContent;
        picture.src = source;
        figure.append(picture, caption);
        return figure;
      }));
    }
    // Both at once, or a picture that comes first would be looked at first.
    $("pair").style.visibility = "hidden";
    await Promise.all([put($("left"), next.left), put($("right"), next.right)]);
    $("pair").classList.toggle("crisp", $("left").naturalWidth <= 256);
    $("pair").style.visibility = "";
    since = performance.now();
    ready(true);
  };
  const answer = async (said) => {
    if (!isReady) return;
    ready(false);
    try {
      await show(await ask("/vote", { question: question.question, answer: said, ms: Math.round(performance.now() - since) }));
    } catch (error) {
      fail(error);
    }
  };
  const source = (is) => {
    if (!isReady || !question.sources.length) return; // a picture that is being decoded fails if it is set again
    for (const side of ["left", "right"]) set($(side), is ? question.sources[0] : question[side]);
  };

  for (const button of buttons) button.addEventListener("click", () => answer(button.dataset.answer));
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const said = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie" }[event.key];
    if (said) {
      event.preventDefault();
      answer(said);
    }
    if (event.key.toLowerCase() === "s") source(true);
  });
  document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "s") source(false); });
  window.addEventListener("blur", () => source(false)); // the key is let go of elsewhere
  ready(false);
  ask("/next").then(show).catch(fail);
})();
