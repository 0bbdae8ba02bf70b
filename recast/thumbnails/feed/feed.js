"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, ...inside) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") element.className = value;
      else if (name === "text") element.textContent = value;
      else element.setAttribute(name, value);
    }
    element.append(...inside);
    return element;
  };
  const place = (box) => `left:${100 * box[0]}%;top:${100 * box[1]}%;width:${100 * (box[2] - box[0])}%;height:${100 * (box[3] - box[1])}%`;
  // What is drawn over a thumbnail: the length of the video, and how much of it was watched.
  const over = (duration, watched) => {
    const parts = [make("span", { class: "badge", text: duration })];
    if (watched) parts.push(make("span", { class: "bar" }, make("i")));
    return parts;
  };
  const mine = (variant, { watched = false, zones = false } = {}) => {
    const thumb = make("div", { class: "thumb" }, make("img", { src: variant.picture, alt: variant.alt }), ...over(data.duration, watched));
    if (zones) {
      thumb.append(make("span", { class: "margin" }));
      for (const box of data.zones) thumb.append(make("span", { class: "zone", style: place(box) }));
    }
    return thumb;
  };
  const neighbour = (i) => {
    const other = data.neighbours[i % data.neighbours.length];
    const inside = other.picture
      ? make("img", { src: other.picture, alt: "" })
      : make("span", { class: "other", style: `background:linear-gradient(${other.angle}deg,${other.from},${other.to})` });
    return make("div", { class: "card neighbour" }, make("div", { class: "thumb" }, inside, ...over(other.duration, i % 4 === 1)), words(other.title, other.channel, other.views));
  };
  const words = (title, channel, views) =>
    make("div", { class: "meta" }, make("div", { class: "avatar" }), make("div", {}, make("div", { class: "title", text: title }), make("div", { class: "dim", text: channel }), make("div", { class: "dim", text: views })));
  const card = (variant, options) => make("div", { class: "card mine" }, mine(variant, options), words(data.video, data.channel, data.views));
  const fill = (id, count, where, variant, options) => {
    const rows = Array.from({ length: count }, (_, i) => (i === where ? card(variant, options) : neighbour(i + id.length)));
    at(id).replaceChildren(...rows);
  };
  const finding = (each) => {
    const row = make("li", {}, make("b", { class: each.verdict, text: each.check }), document.createTextNode(" " + each.says));
    if (each.advice) row.append(make("span", { class: "advice", text: each.advice }));
    return row;
  };
  const worded = { fail: "not shipped", warn: "with warnings", pass: "passes", absent: "passes" };
  let shown = 0;
  const show = (index) => {
    shown = (index + data.variants.length) % data.variants.length;
    const variant = data.variants[shown];
    at("name").textContent = variant.name;
    at("verdict").textContent = worded[variant.verdict];
    at("verdict").className = `verdict ${variant.verdict}`;
    at("large").replaceChildren(mine(variant, { zones: true }));
    const open = variant.findings.filter((each) => each.verdict === "fail" || each.verdict === "warn");
    const rest = variant.findings.filter((each) => !open.includes(each));
    const list = make("ul", {}, ...open.map(finding));
    const more = make("details", {}, make("summary", { text: `${rest.length} checks without complaint` }), make("ul", {}, ...rest.map(finding)));
    at("says").replaceChildren(make("p", { text: variant.says }), list, more);
    fill("home", 6, 1, variant, {});
    fill("search", 3, 1, variant, { watched: true });
    fill("side", 5, 2, variant, {});
    fill("tiny", 6, 2, variant, {});
    fill("phone", 3, 0, variant, { watched: true });
    fill("tv", 3, 1, variant, {});
    for (const [i, button] of [...at("strip").children].entries()) button.setAttribute("aria-current", String(i === shown));
  };
  for (const [i, variant] of data.variants.entries()) {
    const button = make("button", { type: "button", title: variant.name }, make("img", { src: variant.picture, alt: "" }), make("span", { class: variant.verdict, text: variant.name }));
    button.addEventListener("click", () => show(i));
    at("strip").append(button);
  }
  const toggle = (id, change) =>
    at(id).addEventListener("click", () => {
      const on = at(id).getAttribute("aria-pressed") !== "true";
      at(id).setAttribute("aria-pressed", String(on));
      change(on);
    });
  const root = document.documentElement;
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  at("theme").setAttribute("aria-pressed", String(isDark));
  toggle("theme", (on) => { root.dataset.theme = on ? "dark" : "light"; });
  toggle("zones", (on) => document.body.classList.toggle("zones", on));
  toggle("alone", (on) => document.body.classList.toggle("alone", on));
  addEventListener("keydown", (event) => {
    if (event.target instanceof HTMLInputElement) return;
    if (event.key === "ArrowRight") show(shown + 1);
    else if (event.key === "ArrowLeft") show(shown - 1);
  });
  show(0);
})();
