// The explorer: a site's class-mean curves over its channels, and the images that move a chosen channel most.
// Names come from outside (classes, files, networks), so they reach the page as textContent only, and Vega-Lite
// sees the numbers of classes, never their names.
"use strict";
(() => {
  const PAGE = 50;
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const byId = (id) => document.getElementById(id);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const shown = new Set(data.classes.keys());
  const state = { site: null, branch: 0, order: [], first: 0, channel: 0 };
  let view = null;
  let started = false;

  // ---- numbers

  const decoded = new Map();
  function decode(site) {
    if (!decoded.has(site)) {
      const scores = Object.entries(site.scores).map(([name, values]) => [name, unpacked(values)]);
      decoded.set(site, {
        mean: unpacked(site.mean),
        sd: unpacked(site.sd),
        halfInterval: unpacked(site.halfInterval),
        scores: Object.fromEntries(scores),
        categories: Object.entries(site.categories).map(([name, { names, data: text }]) => [name, names, codes(text)]),
        extremeImages: codes(site.extremeImages),
        extremeValues: unpacked(site.extremeValues),
      });
    }
    return decoded.get(site);
  }

  const groups = () => [...data.classes.keys()].filter((group) => shown.has(group));
  const column = (channel) => state.branch * state.site.channels + channel;
  const at = (kind, group, channel) =>
    decode(state.site)[kind][group * state.site.branches.length * state.site.channels + column(channel)];

  // Numbers of the explorer are rounded to about a 65,534th of a site's range, so smaller gates read as none.
  const gate = (value) => number(Math.abs(value) < 0.00001 ? 0 : value);

  const cut = (value) => (state.site.bounded ? Math.min(Math.max(value, 0), 1) : value);

  // Mean and interval with as many decimals as the interval asks for, so that gates which hardly move have one too.
  function estimate(group, channel) {
    const [mean, half] = [at("mean", group, channel), at("halfInterval", group, channel)];
    if (!Number.isFinite(half)) return { mean: number(mean), interval: "–" };
    const decimals = Math.min(6, Math.max(3, 1 - Math.floor(Math.log10(half || 1))));
    const [low, high] = [mean - half, mean + half].map((end) => cut(end).toFixed(decimals));
    return { mean: mean.toFixed(decimals), interval: `${low} to ${high}` };
  }

  // ---- small pieces of the page

  function element(tag, text = "", className = "") {
    const made = document.createElement(tag);
    made.textContent = text;
    made.className = className;
    return made;
  }

  function option(value, text) {
    const made = element("option", text);
    made.value = value;
    return made;
  }

  const colour = (group) => data.classes[group][dark.matches ? "dark" : "light"];

  function swatch(group) {
    const made = element("span", "", data.classes[group].dashed ? "swatch dashed" : "swatch");
    made.style.borderTopColor = colour(group);
    return made;
  }

  // ---- the chart

  // The interpreter (ast) evaluates Vega's expressions without eval, which the page's policy forbids.
  async function embed() {
    view?.finalize();
    const options = { actions: false, ast: true, defaultStyle: false, renderer: "canvas", tooltip: false };
    view = (await vegaEmbed("#plot", chartSpecification(data.classes, colour), options)).view;
    await draw();
  }

  const windowSize = () => Math.min(Number(byId("size").value) || Infinity, state.order.length);
  const visible = () => state.order.slice(state.first, state.first + windowSize());

  // Channels count from 0, as in the network; ranks from 1.
  const base = () => (byId("order").value ? 1 : 0);

  // Classes that are left out have rows too, without values: so the others keep their order from back to front.
  function curves() {
    const kind = byId("band").value;
    return [...data.classes.keys()].flatMap((group) =>
      visible().map((channel, index) => {
        if (!shown.has(group)) return { place: state.first + index + base(), group, mean: null, bottom: null, top: null };
        const mean = at("mean", group, channel);
        const width = kind ? at(kind, group, channel) || 0 : 0;
        return { place: state.first + index + base(), group, mean, bottom: cut(mean - width), top: cut(mean + width) };
      }),
    );
  }

  function limits(rows) {
    if (state.site.bounded && !byId("fit").checked) return [-0.03, 1.03];
    const values = rows.filter((row) => row.mean !== null).flatMap((row) => [row.bottom, row.top]);
    const low = values.reduce((least, value) => Math.min(least, value), Infinity);
    const high = values.reduce((most, value) => Math.max(most, value), -Infinity);
    const room = 0.04 * (high - low) || 0.01;
    return Number.isFinite(low) ? [low - room, high + room] : [0, 1];
  }

  function marksAt(...places) {
    const inside = places.filter((place) => place >= state.first && place < state.first + windowSize());
    const points = inside.flatMap((place) =>
      groups().map((group) => ({ place: place + base(), group, mean: at("mean", group, state.order[place]) })),
    );
    return view.data("marks", inside.map((place) => ({ place: place + base() }))).data("points", points);
  }

  const selectedPlace = () => state.order.indexOf(state.channel);

  async function draw() {
    if (!view) return;
    const rows = curves();
    const [low, high] = limits(rows);
    view.signal("low", low).signal("high", high);
    const first = state.first + base();
    view.signal("first", first - 0.5).signal("last", first + windowSize() - 0.5);
    await marksAt(selectedPlace()).data("curves", rows).resize().runAsync();
    byId("chart").dataset.drawn = `${state.site.name}/${byId("order").value}/${groups().join()}`;
  }

  // ---- reading the chart with the pointer

  function placeUnder(event) {
    const box = byId("chart").getBoundingClientRect();
    const place = Math.round(view.scale("x").invert(event.clientX - box.left - view.origin()[0])) - base();
    return Math.min(Math.max(place, state.first), state.first + windowSize() - 1);
  }

  function nearestGroup(event, channel) {
    const top = byId("chart").getBoundingClientRect().top + view.origin()[1];
    const distance = (group) => Math.abs(view.scale("y")(at("mean", group, channel)) - (event.clientY - top));
    return groups().reduce((best, group) => (distance(group) < distance(best) ? group : best), groups()[0]);
  }

  function hover(event) {
    if (!view) return;
    const place = placeUnder(event);
    const channel = state.order[place];
    const nearest = nearestGroup(event, channel);
    const table = element("table");
    for (const group of groups()) {
      const row = table.insertRow();
      row.className = group === nearest ? "nearest" : "";
      row.insertCell().append(swatch(group), " ", data.classes[group].name);
      const { mean, interval } = estimate(group, channel);
      row.insertCell().textContent = mean;
      row.insertCell().textContent = interval;
    }
    const tooltip = byId("tooltip");
    tooltip.replaceChildren(element("strong", `Channel ${channel}`), table);
    tooltip.hidden = false;
    const frame = byId("chart-frame").getBoundingClientRect();
    const x = event.clientX - frame.left;
    const left = x + 16 + tooltip.offsetWidth < frame.width ? x + 16 : x - 16 - tooltip.offsetWidth;
    tooltip.style.left = `${Math.max(0, left)}px`;
    marksAt(selectedPlace(), place).runAsync();
  }

  function leave() {
    byId("tooltip").hidden = true;
    if (view) marksAt(selectedPlace()).runAsync();
  }

  // ---- choices

  function selectSite(name) {
    const site = data.sites.find((candidate) => candidate.name === name);
    if (!site) return false;
    state.site = site;
    state.branch = 0;
    byId("site").value = name;
    byId("branch").replaceChildren(...site.branches.map((text, index) => option(index, text)));
    byId("branch-control").hidden = site.branches.length === 1;
    const facts = [site.module, site.family, site.activation, `${site.channels} channels`];
    byId("site-facts").textContent = facts.filter(Boolean).join(" · ");
    byId("channel").max = site.channels - 1;
    for (const row of byId("sites-table").tBodies[0].rows) {
      row.className = row.cells[0].textContent.trim() === name ? "current" : "";
    }
    sizes();
    sort();
    selectChannel(mostTelling());
    return true;
  }

  function sizes() {
    const { channels } = state.site;
    const offered = [50, 100, 200, 500].filter((size) => size < channels);
    const before = byId("size").value;
    byId("size").replaceChildren(
      ...offered.map((size) => option(size, `${size} channels`)),
      option(0, `all ${channels} channels`),
    );
    const preferred = before === "" ? (innerWidth < 600 ? "50" : "100") : before;
    byId("size").value = offered.includes(Number(preferred)) ? preferred : "0";
  }

  const score = (name) => decode(state.site).scores[name].subarray(column(0), column(0) + state.site.channels);
  const rank = (value) => (Number.isNaN(value) ? -Infinity : value);

  function sort() {
    const name = byId("order").value;
    state.order = [...Array(state.site.channels).keys()];
    if (name) {
      const values = score(name);
      state.order.sort((one, other) => rank(values[other]) - rank(values[one]) || one - other);
    }
  }

  // The channel to begin with: the one whose class means differ most, in gate units.
  function mostTelling() {
    const name = "between_class_sd";
    if (!(name in data.scores)) return 0;
    return score(name).reduce((best, value, channel, all) => (rank(value) > rank(all[best]) ? channel : best), 0);
  }

  function selectChannel(channel) {
    state.channel = Math.min(Math.max(Math.round(channel) || 0, 0), state.site.channels - 1);
    scrollTo(state.first);
    const place = selectedPlace();
    if (place < state.first || place >= state.first + windowSize()) scrollTo(place - Math.floor(windowSize() / 2));
    describe();
    draw();
  }

  function scrollTo(first) {
    const last = state.order.length - windowSize();
    state.first = Math.min(Math.max(first, 0), last);
    const slider = byId("first");
    slider.max = last;
    slider.value = state.first;
    slider.hidden = last === 0;
    const by = byId("order").selectedOptions[0].textContent;
    const range = `${state.first + base()} to ${state.first + base() + windowSize() - 1}`;
    const total = `of ${state.order.length}`;
    byId("axis-words").textContent = base() ? `Ranks ${range} ${total} by ${by}, highest first` : `Channels ${range}, ${total} in all`;
  }

  // ---- the chosen channel in words, numbers and pictures

  function describe() {
    const { site, channel } = state;
    const branch = site.branches.length > 1 ? `, ${site.branches[state.branch]}` : "";
    byId("channel-title").textContent = `Channel ${channel} of ${site.name}${branch}`;
    byId("channel").value = channel;
    const scores = Object.entries(data.scores).map(([name, { label }]) => `${label} ${number(score(name)[channel])}`);
    const names = decode(site).categories.map(([name, values, places]) => `${data.categories[name]} ${values[places[column(channel)]]}`);
    byId("channel-scores").textContent = [...names, ...scores].join(" · ");
    byId("channel-table").tBodies[0].replaceChildren(...[...data.classes.keys()].map(classRow));
    pictures();
    const chart = byId("chart");
    chart.setAttribute("aria-valuemax", site.channels);
    chart.setAttribute("aria-valuenow", selectedPlace() + 1);
    const values = groups().map((group) => `${data.classes[group].name} ${estimate(group, channel).mean}`);
    chart.setAttribute("aria-valuetext", `Channel ${channel}: ${values.join(", ")}`);
    if (started) history.replaceState(null, "", `#site=${encodeURIComponent(site.name)}&channel=${channel}`);
  }

  function classRow(group) {
    const row = element("tr");
    const head = element("th");
    head.scope = "row";
    head.append(swatch(group), " ", data.classes[group].name);
    const { mean, interval } = estimate(group, state.channel);
    const cells = [mean, interval, gate(at("sd", group, state.channel)), data.classes[group].images.toLocaleString("en")];
    row.append(head, ...cells.map((text) => element("td", text, "number")));
    return row;
  }

  function pictures() {
    const { extremeImages, extremeValues } = decode(state.site);
    const count = state.site.extremeCount;
    const start = 2 * count * column(state.channel);
    const item = (_, index) => picture(data.images[extremeImages[start + index]], extremeValues[start + index]);
    const items = Array.from({ length: 2 * count }, item);
    byId("most").replaceChildren(...items.slice(0, count));
    byId("least").replaceChildren(...items.slice(count));
  }

  function picture(image, value) {
    const item = element("li");
    const name = data.classes[image.class].name;
    let shape = element("span", image.path, "path");
    if (image.picture) {
      shape = element("img");
      shape.src = `data:image/webp;base64,${image.picture}`;
      shape.alt = `${name}, ${image.path}`;
      shape.title = image.path;
    }
    shape.style.borderColor = colour(image.class);
    item.append(shape, element("strong", gate(value)), " ", name);
    return item;
  }

  // ---- wiring

  const KEYS = {
    ArrowRight: (place) => place + 1,
    ArrowLeft: (place) => place - 1,
    ArrowUp: (place) => place + 1,
    ArrowDown: (place) => place - 1,
    PageDown: (place) => place + PAGE,
    PageUp: (place) => place - PAGE,
    Home: () => 0,
    End: () => Infinity,
  };

  function pressKey(event) {
    const move = KEYS[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const place = Math.min(Math.max(move(selectedPlace()), 0), state.order.length - 1);
    selectChannel(state.order[place]);
  }

  function step(by) {
    const place = data.sites.indexOf(state.site) + by;
    selectSite(data.sites[(place + data.sites.length) % data.sites.length].name);
  }

  // An address such as #site=SE_4_2&channel=17 leads to what it names; findings and the table of sites use it.
  function followAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    if (!wanted.has("site") || !selectSite(wanted.get("site"))) return;
    if (wanted.has("channel")) selectChannel(Number(wanted.get("channel")));
    byId("explorer").scrollIntoView();
    byId("explorer").focus({ preventScroll: true });
  }

  function classToggle(group) {
    const label = element("label");
    const box = element("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      shown[box.checked ? "add" : "delete"](group);
      describe();
      draw();
    });
    label.append(box, swatch(group), ` ${data.classes[group].name}`);
    return label;
  }

  function classToggles() {
    byId("classes").replaceChildren(...[...data.classes.keys()].map(classToggle));
  }

  function siteOptions() {
    const stages = new Map();
    for (const site of data.sites) stages.set(site.stage, [...(stages.get(site.stage) ?? []), site]);
    return [...stages].map(([stage, sites]) => {
      const group = element("optgroup");
      group.label = `Stage ${stage}`;
      group.append(...sites.map((site) => option(site.name, site.name)));
      return group;
    });
  }

  function listen() {
    const on = (id, event, action) => byId(id).addEventListener(event, action);
    on("site", "change", (event) => selectSite(event.target.value));
    on("previous-site", "click", () => step(-1));
    on("next-site", "click", () => step(1));
    on("branch", "change", (event) => {
      state.branch = Number(event.target.value);
      sort();
      selectChannel(state.channel);
    });
    on("order", "change", () => {
      sort();
      scrollTo(0);
      selectChannel(state.order[0]);
    });
    on("size", "change", () => selectChannel(state.channel));
    on("band", "change", draw);
    on("fit", "change", draw);
    on("first", "input", (event) => {
      scrollTo(Number(event.target.value));
      draw();
    });
    on("channel", "change", (event) => selectChannel(Number(event.target.value)));
    on("chart", "keydown", pressKey);
    on("chart", "pointermove", hover);
    on("chart", "pointerleave", leave);
    on("chart", "click", (event) => view && selectChannel(state.order[placeUnder(event)]));
    addEventListener("hashchange", followAddress);
    dark.addEventListener("change", () => {
      const hidden = [...data.classes.keys()].filter((group) => !shown.has(group));
      classToggles();
      for (const group of hidden) byId("classes").querySelectorAll("input")[group].checked = false;
      describe();
      embed();
    });
  }

  byId("explorer-app").hidden = false;
  byId("site").replaceChildren(...siteOptions());
  byId("order").replaceChildren(
    option("", "index"),
    ...Object.entries(data.scores).map(([name, { menu }]) => option(name, menu)),
  );
  classToggles();
  listen();
  selectSite(data.start);
  started = true;
  embed().then(followAddress);
})();
