// The explorer: a site's class-mean curves over its channels, and the images that move a chosen channel most.
// Names come from outside (classes, files, networks), so they reach the page as textContent only, and Vega-Lite
// sees the numbers of classes, never their names.
"use strict";
(() => {
  const PAGE = 50;
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const byId = (id) => document.getElementById(id);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const dictionary = channelDictionary(data);
  const maps = channelMaps(data.dictionary.maps);
  const chosen = [...data.classes.keys()].filter((group) => data.classes[group].chosen);
  const ON_PIXELS = " Drawn over the pixels, because masking these moves the logit more than masking others.";
  const ON_GRID = " Cells of the feature map alone: that the gate sees the pixels at the same place was not shown.";
  const DIFFERENCE = "difference";
  let offered = [...chosen]; // classes with a checkbox, the chosen ones first
  let shown = new Set(chosen);
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
        referenceHalf: site.referenceHalf && unpacked(site.referenceHalf),
        scores: Object.fromEntries(scores),
        categories: Object.entries(site.categories).map(([name, { names, data: text }]) => [name, names, codes(text)]),
        extremeImages: codes(site.extremeImages),
        extremeValues: unpacked(site.extremeValues),
      });
    }
    return decoded.get(site);
  }

  const groups = () => offered.filter((group) => shown.has(group));
  const column = (channel) => state.branch * state.site.channels + channel;
  const at = (kind, group, channel) => {
    const { factor } = data.classes[group];
    if (kind === "halfInterval") return factor === null ? decode(state.site).referenceHalf[column(channel)] : factor * at("sd", group, channel);
    return decode(state.site)[kind][group * state.site.branches.length * state.site.channels + column(channel)];
  };

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

  function option(value, text) {
    const made = element("option", text);
    made.value = value;
    return made;
  }

  // A class that was added takes the next free colour, not the one of its place among all classes.
  const look = (group) => data.classes[data.classes[group].chosen ? group : Math.max(offered.indexOf(group), chosen.length)];
  const colour = (group) => look(group)[dark.matches ? "dark" : "light"];

  function swatch(group) {
    const made = element("span", "", look(group).dashed ? "swatch dashed" : "swatch");
    made.style.borderTopColor = colour(group);
    return made;
  }

  // ---- the chart

  // The interpreter (ast) evaluates Vega's expressions without eval, which the page's policy forbids.
  async function embed() {
    view?.finalize();
    const options = { actions: false, ast: true, defaultStyle: false, renderer: "canvas", tooltip: false };
    const dots = byId("draw").value === "dots";
    view = (await vegaEmbed("#plot", chartSpecification(offered, colour, (group) => look(group).dashed, dots), options)).view;
    await draw();
  }

  const windowSize = () => Math.min(Number(byId("size").value) || Infinity, state.order.length);
  const visible = () => state.order.slice(state.first, state.first + windowSize());

  // Channels count from 0, as in the network; ranks from 1.
  const base = () => (byId("order").value ? 1 : 0);

  // Classes that are left out have rows too, without values: so the others keep their order from back to front.
  function curves() {
    const kind = byId("band").value;
    return offered.flatMap((group) =>
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
    byId("chart").dataset.drawn = `${state.site.name}/${byId("order").value}/${byId("draw").value}/${groups().join()}`;
  }

  function refresh() {
    describe();
    draw();
  }

  function rebuild() {
    describe();
    embed();
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

  function selectSite(name, branch = 0) {
    const site = data.sites.find((candidate) => candidate.name === name);
    state.site = site;
    state.branch = branch in site.branches ? branch : 0;
    byId("site").value = name;
    byId("branch").replaceChildren(...site.branches.map((text, index) => option(index, text)));
    byId("branch").value = state.branch;
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
  }

  function sizes() {
    const { channels } = state.site;
    const sizesOffered = [50, 100, 200, 500].filter((size) => size < channels);
    const before = byId("size").value;
    byId("size").replaceChildren(
      ...sizesOffered.map((size) => option(size, `${size} channels`)),
      option(0, `all ${channels} channels`),
    );
    const preferred = before === "" ? preferredSize() : before;
    byId("size").value = sizesOffered.includes(Number(preferred)) ? preferred : "0";
  }

  const preferredSize = () => {
    const preferred = innerWidth < 600 ? "50" : "100";
    return Number(preferred) < state.site.channels ? preferred : "0";
  };

  const score = (name) => decode(state.site).scores[name].subarray(column(0), column(0) + state.site.channels);
  const rank = (value) => (Number.isNaN(value) ? -Infinity : value);

  function sort() {
    const name = byId("order").value;
    byId("difference-control").hidden = name !== DIFFERENCE;
    state.order = [...Array(state.site.channels).keys()];
    if (name) {
      const values = name === DIFFERENCE ? state.order.map(difference) : score(name);
      state.order.sort((one, other) => rank(values[other]) - rank(values[one]) || one - other);
    }
  }

  // Mean gate of the first class less that of the second.
  const difference = (channel) => at("mean", Number(byId("more").value), channel) - at("mean", Number(byId("less").value), channel);

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
    refresh();
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
    byId("channel-entry").replaceChildren(...dictionary.rows(sitePlace(), column(channel), neighbour));
    byId("channel-table").tBodies[0].replaceChildren(...offered.map(classRow));
    pictures();
    const chart = byId("chart");
    chart.setAttribute("aria-valuemax", site.channels);
    chart.setAttribute("aria-valuenow", selectedPlace() + 1);
    const values = groups().map((group) => `${data.classes[group].name} ${estimate(group, channel).mean}`);
    chart.setAttribute("aria-valuetext", `Channel ${channel}: ${values.join(", ")}`);
    if (started) history.replaceState(null, "", `#${address()}`);
  }

  // ---- the address: everything that differs from how the page opens

  function address() {
    const facts = new URLSearchParams({ site: state.site.name, channel: state.channel });
    if (state.branch) facts.set("branch", state.branch);
    for (const id of ["order", "band", "draw"]) if (byId(id).selectedIndex) facts.set(id, byId(id).value);
    if (byId("order").value === DIFFERENCE) facts.set("between", `${byId("more").value},${byId("less").value}`);
    if (byId("fit").checked) facts.set("fit", "1");
    if (byId("size").value !== preferredSize()) facts.set("size", byId("size").value);
    if (groups().join() !== chosen.join()) facts.set("classes", groups().join());
    if (byId("search").value.trim()) facts.set("search", byId("search").value.trim());
    return facts;
  }

  // A link to another channel that leaves everything else as it is.
  function channelLink(text, name, branch, channel) {
    const facts = address();
    facts.set("site", name);
    facts.set("channel", channel);
    facts.set("branch", branch);
    const link = element("a", text);
    link.href = `#${facts}`;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      selectSite(name, branch);
      selectChannel(channel);
      byId("channel-title").focus();
    });
    return link;
  }

  // The branch and the channel at a column of a site, and both in words.
  function channelAt(site, at) {
    const [branch, channel] = [Math.floor(at / site.channels), at % site.channels];
    const inside = site.branches.length > 1 ? `${site.branches[branch]}, ` : "";
    return { branch, channel, words: `${site.name}, ${inside}channel ${channel}` };
  }

  function rowHead(...content) {
    const head = element("th");
    head.scope = "row";
    head.append(...content);
    return head;
  }

  const sitePlace = () => data.sites.indexOf(state.site);
  const neighbour = (channel) => channelLink(`channel ${channel}`, state.site.name, state.branch, channel);

  // ---- search

  function found({ place, column: at, name, evidence }, kind) {
    const { branch, channel, words } = channelAt(data.sites[place], at);
    const head = rowHead(channelLink(words, data.sites[place].name, branch, channel));
    const row = element("tr");
    row.append(head, element("td", `${kind} ${name}`), element("td", evidence));
    return row;
  }

  function search() {
    const kinds = dictionary.search(byId("search").value);
    byId("found").hidden = !kinds.length;
    byId("found-table").tBodies[0].replaceChildren(...kinds.flatMap(({ kind, found: items }) => items.map((item) => found(item, kind))));
    const counted = kinds.map(({ kind, total, found: items }) => `${kind}: ${total.toLocaleString("en")} channels${total > items.length ? `, the strongest ${items.length} shown` : ""}`);
    const none = byId("search").value.trim() ? "No channel is found by this word or class." : "";
    byId("found-count").textContent = counted.join(" · ") || none;
  }

  const has = (id, value) => [...byId(id).options].some((item) => item.value === value);

  function followControls(wanted) {
    for (const id of ["order", "band", "draw"]) {
      const value = wanted.get(id);
      byId(id).value = value !== null && has(id, value) ? value : byId(id).options[0].value;
    }
    const between = (wanted.get("between") ?? "").split(",");
    if (between.length === 2 && between.every((group) => has("more", group))) [byId("more").value, byId("less").value] = between;
    byId("fit").checked = wanted.get("fit") === "1";
    const groupsWanted = (wanted.get("classes") ?? chosen.join()).split(",").map(Number).filter((group) => group in data.classes);
    offered = [...chosen, ...groupsWanted.filter((group) => !chosen.includes(group))];
    shown = new Set(groupsWanted);
    classToggles();
    byId("search").value = wanted.get("search") ?? "";
    search();
  }

  function classRow(group) {
    const row = element("tr");
    const head = rowHead(swatch(group), " ", data.classes[group].name);
    const { mean, interval } = estimate(group, state.channel);
    const cells = [mean, interval, gate(at("sd", group, state.channel)), data.classes[group].images.toLocaleString("en")];
    row.append(head, ...cells.map((text) => element("td", text, "number")));
    return row;
  }

  function pictures() {
    const { extremeImages, extremeValues } = decode(state.site);
    const count = state.site.extremeCount;
    const start = 2 * count * column(state.channel);
    const item = (_, index) => picture(extremeImages[start + index], extremeValues[start + index]);
    const items = Array.from({ length: 2 * count }, item);
    byId("most").replaceChildren(...items.slice(0, count));
    byId("least").replaceChildren(...items.slice(count));
    byId("map-note").replaceChildren(...mapNote(extremeImages[start]));
  }

  // The sign of a map for the chosen branch: maps are of the last branch's logit less the first one's.
  function mapSign() {
    const last = state.site.branches.length - 1;
    if (state.branch === last) return 1;
    return state.branch === 0 ? -1 : 0;
  }

  const mapOf = (image) => maps.find(state.site.name, state.channel, image, mapSign());

  function mapNote(image) {
    if (!maps.any) return [];
    const map = mapOf(image);
    const others = maps.channels(state.site.name).filter((channel) => channel !== state.channel);
    if (!map && !others.length) return ["This site has no maps."];
    const links = others.flatMap((channel, index) => [index ? ", " : "", channelLink(channel, state.site.name, state.branch, channel)]);
    const also = [map ? " Other channels of the site with maps: " : "Channels of this site with maps: ", ...links, "."];
    if (!map) return also;
    const scale = `Maps below the images: red raises the gate's logit, blue lowers it, by up to ${number(map.limit)} a cell.`;
    return [scale, map.inPixels ? ON_PIXELS : ON_GRID, ...also];
  }

  function picture(place, value) {
    const image = data.images[place];
    const item = element("li");
    const name = data.classes[image.class].name;
    let shape = element("span", image.path, "path");
    if (image.picture) {
      shape = thumbnail(image);
      shape.title = image.path;
    }
    shape.style.borderColor = colour(image.class);
    const button = element("button", "", "picture");
    button.type = "button";
    button.setAttribute("aria-label", `${name}, ${image.path}: show the channels in which it stands out`);
    button.append(shape);
    button.addEventListener("click", () => enlarge(image));
    item.append(button);
    const map = mapOf(place);
    if (map) item.append(maps.drawn(map, image.picture && thumbnail(image), `Where ${state.site.name}, channel ${state.channel} looks in ${image.path}`));
    item.append(element("strong", gate(value)), " ", name);
    return item;
  }

  function thumbnail(image) {
    const made = element("img");
    made.src = `data:image/webp;base64,${image.picture}`;
    made.alt = `${data.classes[image.class].name}, ${image.path}`;
    return made;
  }

  // An image on its own, with the channels in which its gate is furthest from the mean over images.
  function enlarge(image) {
    byId("image-title").textContent = `${data.classes[image.class].name}, ${image.path}`;
    byId("image-picture").replaceChildren(...(image.picture ? [thumbnail(image)] : []));
    byId("image-channels").tBodies[0].replaceChildren(...image.channels.map(standingOut));
    byId("image-panel").showModal();
  }

  function standingOut([place, at, value, distance]) {
    const { branch, channel, words } = channelAt(data.sites[place], at);
    const link = element("a", words);
    link.href = `#${new URLSearchParams({ site: data.sites[place].name, branch, channel })}`;
    link.addEventListener("click", () => byId("image-panel").close());
    const far = `${distance > 0 ? "+" : "−"}${Math.abs(distance).toFixed(1)}`;
    const row = element("tr");
    row.append(rowHead(link), element("td", gate(value), "number"), element("td", far, "number"));
    return row;
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
    if (!wanted.has("site") || !data.sites.some((site) => site.name === wanted.get("site"))) return;
    followControls(wanted);
    selectSite(wanted.get("site"), Number(wanted.get("branch")) || 0);
    if (has("size", wanted.get("size") ?? "")) byId("size").value = wanted.get("size");
    selectChannel(wanted.has("channel") ? Number(wanted.get("channel")) : state.channel);
    embed();
    byId("explorer").scrollIntoView();
    byId("explorer").focus({ preventScroll: true });
  }

  function classToggle(group) {
    const label = element("label");
    const box = element("input");
    box.type = "checkbox";
    box.checked = shown.has(group);
    box.addEventListener("change", () => {
      shown[box.checked ? "add" : "delete"](group);
      refresh();
    });
    label.append(box, swatch(group), ` ${data.classes[group].name}`);
    return label;
  }

  function classToggles() {
    byId("classes").replaceChildren(...offered.map(classToggle));
  }

  // Any recorded class joins the chosen ones by its name.
  function addClass() {
    const typed = byId("other-class").value.trim().toLowerCase();
    const group = data.classes.findIndex(({ name }) => name.toLowerCase() === typed);
    if (group < 0) return;
    byId("other-class").value = "";
    if (!offered.includes(group)) offered.push(group);
    shown.add(group);
    classToggles();
    rebuild();
  }

  function classOptions() {
    const others = [...data.classes.keys()].filter((group) => !data.classes[group].chosen);
    byId("other-control").hidden = !others.length;
    byId("other-classes").replaceChildren(...others.map((group) => option(data.classes[group].name, "")));
    byId("absent-classes").textContent = data.absent ? `${data.absent} more classes are in the tables only.` : "";
    for (const id of ["more", "less"]) byId(id).replaceChildren(...data.classes.map(({ name }, group) => option(group, name)));
    byId("less").value = data.classes.length > 1 ? 1 : 0;
  }

  function notHere() {
    const effects = dictionary.hasEffects ? [] : ["effects (excite --capture effect)"];
    const missing = [...effects, ...(maps.any ? [] : ["maps (se-probe maps RUN)"])];
    return missing.length ? `Not in this run: ${missing.join(", ")}.` : "";
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

  function resort() {
    sort();
    scrollTo(0);
    selectChannel(state.order[0]);
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
    on("order", "change", resort);
    on("size", "change", () => selectChannel(state.channel));
    for (const id of ["band", "fit"]) on(id, "change", refresh);
    on("draw", "change", rebuild);
    for (const id of ["more", "less"]) on(id, "change", resort);
    on("other-class", "change", addClass);
    on("other-class", "input", (event) => event.inputType === undefined && addClass());
    on("search", "input", () => {
      search();
      history.replaceState(null, "", `#${address()}`);
    });
    on("close-image", "click", () => byId("image-panel").close());
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
      classToggles();
      rebuild();
    });
  }

  byId("explorer-app").hidden = false;
  byId("site").replaceChildren(...siteOptions());
  byId("order").replaceChildren(
    option("", "index"),
    ...Object.entries(data.scores).map(([name, { menu }]) => option(name, menu)),
    ...(data.classes.length > 1 ? [option(DIFFERENCE, "difference of two classes")] : []),
  );
  classOptions();
  classToggles();
  byId("suggestions").replaceChildren(...dictionary.suggestions().map((name) => option(name, "")));
  byId("not-here").textContent = notHere();
  listen();
  selectSite(data.start);
  started = true;
  embed().then(followAddress);
})();
