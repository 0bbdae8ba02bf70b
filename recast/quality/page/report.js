"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, ...inside) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") element.className = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null) element.setAttribute(name, value);
    }
    element.append(...inside.filter((one) => one !== null));
    return element;
  };
  const store = (name, value) => {
    try {
      if (value === undefined) return localStorage.getItem(name);
      localStorage.setItem(name, value);
    } catch { /* a page opened from a file may have no storage: the choice then lasts as long as the page */ }
    return null;
  };

  // Light and dark: what the system says until the button says otherwise.
  const theme = $("theme");
  const themes = ["auto", "light", "dark"];
  const setTheme = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    theme.textContent = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" }[name];
    theme.dataset.now = name;
  };
  setTheme(themes.includes(store("recast-theme")) ? store("recast-theme") : "auto");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    setTheme(themes[(themes.indexOf(theme.dataset.now) + 1) % themes.length]);
    store("recast-theme", theme.dataset.now);
  });
  for (const link of document.querySelectorAll("nav a")) {
    if (!document.querySelector(link.getAttribute("href"))) link.parentElement.remove();
  }

  // Tables: a heading is a button that sorts; controls stay on top, unknown values at the end.
  const key = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    const text = cell.textContent.trim();
    return text === "–" || cell.classList.contains("none") ? null : text.toLowerCase();
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const first = column > 0 && !head.querySelector('abbr[title^="lower"]') ? "descending" : "ascending";
        const other = first === "descending" ? "ascending" : "descending";
        const order = head.getAttribute("aria-sort") === first ? other : first;
        for (const one of heads) one.setAttribute("aria-sort", one === head ? order : "none");
        for (const body of table.tBodies) {
          const rows = [...body.rows].map((row) => [key(row, column), row]);
          rows.sort(([a], [b]) => {
            if (a === null || b === null) return (a === null) - (b === null);
            const step = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
            return order === "ascending" ? step : -step;
          });
          body.append(...rows.map(([, row]) => row));
        }
      });
    });
  }

  // Drawings: a name in the legend brings its lines forward.
  for (const legend of document.querySelectorAll(".legend")) {
    const groups = () => legend.parentElement.querySelectorAll(".chart > g");
    for (const entry of legend.children) {
      const kind = entry.querySelector("g").classList[0];
      entry.addEventListener("mouseenter", () => groups().forEach((g) => g.classList.toggle("faded", !g.classList.contains(kind))));
      entry.addEventListener("mouseleave", () => groups().forEach((g) => g.classList.remove("faded")));
    }
  }

  // Side by side.
  const data = JSON.parse($("items").textContent);
  const pictures = JSON.parse($("pictures").textContent);
  const systems = data.systems;
  const names = Object.fromEntries(systems.map((one) => [one.id, one.name]));
  const shown = new Set(systems.filter((one) => !one.control).map((one) => one.id));
  if (!shown.size) systems.forEach((one) => shown.add(one.id));
  const said = (value, unit) => {
    if (value === null || value === undefined) return "–";
    return unit === "%" ? (100 * value).toFixed(1) : String(Number(value.toPrecision(3)));
  };
  const columns = data.scores.filter((one) => one.unit === "%");
  const PAGE = 12;
  let list = [], drawn = 0, open = null;

  const option = (select, value, text) => select.append(make("option", { value }, text));
  (columns.length ? columns : data.scores).forEach((one) => option($("score"), one.id, one.title));
  systems.forEach((one) => option($("of"), one.id, one.name));
  [...new Set(data.items.map((one) => one.category))].sort().forEach((one) => option($("category"), one, one));
  [...new Set(data.items.flatMap((one) => Object.values(one.systems).map((o) => o.status)))].sort()
    .forEach((one) => option($("status"), one, one.replace("_", " ")));
  for (const one of systems) {
    const box = make("input", { type: "checkbox", value: one.id, onchange: (event) => {
      if (event.target.checked) shown.add(one.id);
      else shown.delete(one.id);
      update();
    } });
    box.checked = shown.has(one.id);
    $("columns").append(make("label", {}, box, one.name));
  }
  $("nth").value = Math.max(1, Math.ceil(data.items.length / PAGE));

  // A failure counts as 0, as everywhere on this page; a score that was not measured counts as nothing.
  const scoreOf = (item, slug) => {
    const one = item.systems[slug];
    if (!one || one.status === "missing") return null;
    if (one.status !== "ok") return 0;
    const value = one.scores[$("score").value];
    return value === undefined ? null : value;
  };
  const scoresOf = (item) => {
    const slugs = $("of").value ? [$("of").value] : [...shown];
    return slugs.map((slug) => scoreOf(item, slug)).filter((value) => value !== null);
  };
  const mean = (item) => {
    const values = scoresOf(item);
    return values.length ? values.reduce((a, b) => a + b) / values.length : null;
  };
  const spread = (item) => {
    const values = [...shown].map((slug) => scoreOf(item, slug)).filter((value) => value !== null);
    return values.length > 1 ? Math.max(...values) - Math.min(...values) : 0;
  };
  // mulberry32, so that a seed names the same items in every browser.
  const generator = (seed) => () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };

  const chosen = () => {
    const low = Number($("low").value) / 100, high = Number($("high").value) / 100, apart = Number($("apart").value) / 100;
    const words = $("words").value.trim().toLowerCase(), status = $("status").value, category = $("category").value;
    const slugs = $("of").value ? [$("of").value] : [...shown];
    const fits = data.items.filter((item) => {
      if (category && item.category !== category) return false;
      if (status && !slugs.some((slug) => item.systems[slug] && item.systems[slug].status === status)) return false;
      if (words && !`${item.key} ${item.instruction}`.toLowerCase().includes(words)) return false;
      const value = mean(item);
      if ((low > 0 || high < 1) && (value === null || value < low - 1e-9 || value > high + 1e-9)) return false;
      return spread(item) >= apart - 1e-9;
    });
    const by = (value, sign) => [...fits].sort((a, b) => {
      const x = value(a), y = value(b);
      return x === null || y === null ? (x === null) - (y === null) : sign * (x - y);
    });
    switch ($("mode").value) {
      case "worst": return by(mean, 1);
      case "best": return by(mean, -1);
      case "spread": return by(spread, -1);
      case "every": return fits.filter((_, i) => i % Math.max(1, Number($("nth").value) || 1) === 0);
      case "random": {
        const random = generator(Number($("seed").value) || 0), pool = [...fits];
        for (let i = pool.length - 1; i > 0; i--) {
          const j = Math.floor(random() * (i + 1));
          [pool[i], pool[j]] = [pool[j], pool[i]];
        }
        return pool.slice(0, Number($("count").value) || 1);
      }
      default: return fits;
    }
  };

  // A picture is given to the browser when it comes near the window, not before.
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      target.src = pictures[target.dataset.p][0];
      near.unobserve(target);
    }
  }, { rootMargin: "600px" });
  const image = (name, alt, kind = "") => {
    const element = make("img", { class: kind, alt, "data-p": name, decoding: "async", loading: "lazy" });
    near.observe(element);
    return element;
  };
  const label = (item) => (item.turn ? `${item.key}, turn ${item.turn + 1}` : item.key);
  const figure = (item, name, title, alt, overlay, lines, onclick) => {
    const [, , width, height] = pictures[name] || pictures[item.sources[0]] || pictures[item.answer] || [null, null, 1, 1];
    const shot = name === null
      ? make("span", { class: "gone" }, lines.length ? "no picture" : "none")
      : make("button", { class: "shot", type: "button", "aria-label": `Open ${alt}`, onclick }, image(name, alt), overlay ? image(overlay, "", "over") : null);
    shot.style.aspectRatio = `${width} / ${height}`;
    return make("figure", {}, shot, make("figcaption", {}, make("b", {}, title), ...lines));
  };
  const line = (left, right) => make("span", { class: "s" }, make("span", {}, left), make("span", {}, right));
  const card = (item) => {
    const slugs = systems.map((one) => one.id).filter((slug) => shown.has(slug) && item.systems[slug]);
    const row = make("div", { class: "row" });
    const many = item.sources.length > 1;
    item.sources.forEach((name, i) => {
      const title = many ? `Image ${i + 1}` : "Source";
      row.append(figure(item, name, title, `${title} of ${label(item)}`, null, [], () => view(item, slugs[0])));
    });
    if (item.answer !== null) row.append(figure(item, item.answer, "Answer", `Answer of ${label(item)}`, null, [], () => view(item, slugs[0])));
    for (const slug of slugs) {
      const one = item.systems[slug], lines = [];
      if (one.status !== "ok") lines.push(line(one.status.replace("_", " "), ""), make("span", {}, one.reason || ""));
      for (const { id, title, unit } of columns) if (id in one.scores) lines.push(line(title, said(one.scores[id], unit)));
      const alt = `${names[slug]} on ${label(item)}: ${item.instruction}${one.overlay_words ? `; ${one.overlay_words}` : ""}`;
      row.append(figure(item, one.picture, names[slug], alt, one.overlay, lines, () => view(item, slug)));
    }
    const about = [...new Set([label(item), item.category, item.kind, item.split].filter(Boolean))].join(" · ");
    return make("article", { class: "item", tabindex: "-1", "aria-label": label(item) },
      make("header", {}, make("q", {}, item.instruction), make("span", { class: "about" }, about)), row);
  };
  const draw = () => {
    for (const item of list.slice(drawn, drawn + PAGE)) $("grid").append(card(item));
    drawn = Math.min(list.length, drawn + PAGE);
    $("more").hidden = drawn >= list.length;
    $("more").textContent = `More (${list.length - drawn})`;
  };
  const update = () => {
    list = chosen();
    drawn = 0;
    $("grid").replaceChildren();
    for (const one of document.querySelectorAll("[data-for]")) one.hidden = one.dataset.for !== $("mode").value;
    const how = { every: $("nth").value === "1" ? "every one" : `the first of every ${$("nth").value}, in the order of their keys`, random: `random, seed ${$("seed").value}` }[$("mode").value];
    $("found").textContent = `${list.length} of ${data.items.length} items${how ? `: ${how}` : ""}`;
    draw();
  };
  for (const kind of ["input", "change"]) {
    $("filters").addEventListener(kind, ({ target }) => {
      if (target.matches(kind === "change" ? "select" : "input:not([type=checkbox])")) update();
    });
  }
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("more").addEventListener("click", () => {
    const from = drawn;
    draw();
    $("grid").children[from].focus({ preventScroll: true });
  });
  const setMarks = (on) => {
    $("marks").checked = $("viewer-marks").checked = on;
    $("grid").classList.toggle("no-marks", !on);
    $("over").hidden = !on || !$("over").getAttribute("src");
  };
  $("marks").addEventListener("change", (event) => setMarks(event.target.checked));
  $("viewer-marks").addEventListener("change", (event) => setMarks(event.target.checked));

  // Full size, with a slider between the output and what it is compared with.
  const viewer = $("viewer"), stage = $("stage"), slider = $("slider");
  const full = (name) => pictures[name][1] || pictures[name][0];
  const others = (item) => [
    ...item.sources.map((name, i) => [name, item.sources.length > 1 ? `Image ${i + 1}` : "Source"]),
    [item.answer, "Answer"],
    ...systems.filter((one) => item.systems[one.id]).map((one) => [item.systems[one.id].picture, one.name]),
  ].filter(([name]) => name !== null);
  const slide = (at) => {
    slider.value = at;
    stage.style.setProperty("--at", `${at}%`);
  };
  const put = (element, name) => {
    element.hidden = name === null;
    if (name === null) element.removeAttribute("src");
    else element.src = full(name);
  };
  const view = (item, slug, keep = null) => {
    const one = item.systems[slug] || { picture: null, scores: {}, flags: [], status: "missing", overlay: null };
    open = { item, slug };
    const choices = others(item);
    const before = choices.find(([, title]) => title === keep) || choices[0] || [null, ""];
    $("against").replaceChildren(...choices.map(([, title]) => make("option", { value: title }, title)));
    $("against").value = before[1];
    $("viewer-title").textContent = `${names[slug] || ""}: ${label(item)}`;
    $("viewer-words").textContent = `“${item.instruction}”`;
    $("slider-name").textContent = before[1];
    $("after-name").textContent = one.picture === null ? `${names[slug] || ""}: ${one.status.replace("_", " ")}` : names[slug];
    put($("before"), before[0]);
    put($("after"), one.picture);
    put($("over"), one.overlay);
    setMarks($("marks").checked);
    const [, , width, height] = pictures[one.picture] || pictures[before[0]] || [null, null, 1, 1];
    const room = Math.max(160, window.innerHeight - 330);
    stage.style.aspectRatio = `${width} / ${height}`;
    stage.style.maxWidth = `${Math.round(room * width / height)}px`;
    stage.classList.toggle("crisp", width * 2 <= 640);
    stage.setAttribute("aria-label", `${before[1]} beside ${names[slug]}: ${item.instruction}. ${one.overlay_words || ""}`);
    const scored = data.scores.filter(({ id }) => id in one.scores).map(({ id, title, unit }) => `${title} ${said(one.scores[id], unit)}`);
    $("viewer-scores").textContent = [...scored, one.seconds ? `${one.seconds.toFixed(2)} s` : null, one.reason, one.overlay_words, ...one.flags].filter(Boolean).join(" · ");
    if (!viewer.open) {
      slide(50);
      viewer.showModal();
      stage.focus();
    }
  };
  const step = (items, places) => {
    const item = list[(list.indexOf(open.item) + items + list.length) % list.length];
    const slugs = systems.map((one) => one.id).filter((slug) => shown.has(slug) && item.systems[slug]);
    const place = Math.max(0, slugs.indexOf(open.slug));
    view(item, slugs[(place + places + slugs.length) % slugs.length], $("against").value);
  };
  slider.addEventListener("input", () => slide(slider.value));
  const drag = (event) => {
    if (event.buttons !== 1) return;
    const box = stage.getBoundingClientRect();
    slide(Math.round(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width))));
  };
  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); drag(event); });
  stage.addEventListener("pointermove", drag);
  $("against").addEventListener("change", (event) => view(open.item, open.slug, event.target.value));
  $("close").addEventListener("click", () => viewer.close());
  $("previous").addEventListener("click", () => step(0, -1));
  $("next").addEventListener("click", () => step(0, 1));
  viewer.addEventListener("keydown", (event) => {
    if (event.target.matches("select, input[type=range]")) return;
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!move) return;
    event.preventDefault();
    step(...move);
  });
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    if (event.key === "d") setMarks(!$("marks").checked);
    if (viewer.open) return;
    const cards = [...$("grid").children];
    const at = cards.indexOf(document.activeElement.closest(".item"));
    if (event.key === "j" || event.key === "k") {
      const next = cards[Math.min(cards.length - 1, Math.max(0, at + (event.key === "j" ? 1 : -1)))];
      if (next) { next.focus({ preventScroll: true }); next.scrollIntoView({ block: "center" }); }
    }
    if (event.key === "Enter" && document.activeElement.classList.contains("item")) {
      const item = list[at];
      view(item, systems.map((one) => one.id).find((slug) => shown.has(slug) && item.systems[slug]));
    }
  });
  window.addEventListener("beforeprint", () => {
    for (const element of document.querySelectorAll("img[data-p]")) element.src = pictures[element.dataset.p][0];
  });

  $("filters").hidden = false;
  document.querySelector(".keys").hidden = false;
  update();
})();
