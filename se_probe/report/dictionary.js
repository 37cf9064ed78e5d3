// The dictionary of channels: what is known about one channel, and which channels a search finds.
// Names come from outside, so that they reach the page as textContent only.
"use strict";
function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

const signed = (value) => `${value < 0 ? "−" : "+"}${number(Math.abs(value))}`;
const span = ({ mean, half }) => `${signed(mean)} (${signed(mean - half)} to ${signed(mean + half)})`;

function channelDictionary(data) {
  const known = data.dictionary;
  const KINDS = { word: "word", helps: "helps", hurts: "hurts", opens: "opens most for" };
  const MOST = 10; // rows of a kind
  const decoded = new Map();

  function site(place) {
    if (!decoded.has(place)) {
      const parts = Object.entries(known.sites[place]).filter(([, part]) => part?.codes !== undefined);
      const read = ([name, value]) => [name, name === "codes" ? codes(value) : unpacked(value)];
      const all = parts.map(([name, part]) => [name, Object.fromEntries(Object.entries(part).map(read))]);
      decoded.set(place, Object.fromEntries(all));
    }
    return decoded.get(place);
  }

  const columns = (place) => data.sites[place].channels * data.sites[place].branches.length;

  // The entries of a list that a column has, each with its code and numbers.
  function listed(place, name, column) {
    const part = site(place)[name];
    if (!part) return [];
    const count = part.codes.length / columns(place);
    const inside = Array.from({ length: count }, (_, index) => column * count + index).filter((at) => part.codes[at] !== MISSING);
    return inside.map((at) => ({
      half: at % count < count / 2 ? "first" : "second",
      numbers: Object.fromEntries(Object.entries(part).map(([key, values]) => [key, values[at]])),
    }));
  }

  function effects(place, column, half) {
    const found = listed(place, "effects", column).filter((item) => item.half === half);
    return found.map(({ numbers }) => ({ name: known.classes[numbers.codes], mean: numbers.mean, half: numbers.half }));
  }

  // ---- the entry of a channel

  function wordText(place, column) {
    const part = site(place).word;
    if (!part) return null;
    const [auc, siblings, difference, q] = ["auc", "sibling_auc", "difference", "q"].map((name) => part[name][column]);
    if (part.codes[column] === MISSING) {
      return Number.isNaN(q) ? "not tested: no WordNet node has enough of the classes" : `none survives: the best node has AUC ${number(auc)}, q ${number(q)}`;
    }
    const beside = Number.isNaN(siblings) ? "" : `, ${number(siblings)} against its siblings alone`;
    const evidence = `AUC ${number(auc)} against all other classes${beside}; gate ${signed(difference)}; q ${number(q)}`;
    return [element("strong", known.words[part.codes[column]]), ` ${evidence}`];
  }

  function effectTexts(place, column) {
    if (known.sites[place].unsuitable) return { Effect: "not used: at this site first-order effects do not agree with replacement" };
    if (!site(place).effects) return {};
    const text = (half) => effects(place, column, half).map((item) => `${item.name} ${span(item)}`).join(" · ") || "no class, with 5 % false discoveries";
    return { Helps: text("first"), Hurts: text("second") };
  }

  function neighbourNodes(place, column, link) {
    const found = listed(place, "neighbours", column);
    const { byChance } = known.sites[place];
    if (!found.length) return byChance >= 1 ? null : `no channel: none correlates beyond ±${number(byChance)}, what chance reaches`;
    return found.flatMap(({ numbers }, index) => [index ? " · " : "", link(numbers.codes), ` r ${signed(numbers.r)}`]);
  }

  function factorText(place, column) {
    if (!site(place).factors) return null;
    const found = listed(place, "factors", column).map(({ numbers }) => `${known.factors[numbers.codes]} ${Math.round(100 * numbers.share)} %`);
    return found.join(" · ") || "no known factor, with 5 % false discoveries";
  }

  // Rows of a definition list; `link` makes the link to another channel of the site.
  function rows(place, column, link) {
    const facts = {
      Word: wordText(place, column),
      ...effectTexts(place, column),
      "Moves with": neighbourNodes(place, column, link),
      "Explained by": factorText(place, column),
    };
    return Object.entries(facts).filter(([, content]) => content !== null).map(([name, content]) => {
      const row = element("div");
      const definition = element("dd");
      definition.append(...[content].flat());
      row.append(element("dt", name), definition);
      return row;
    });
  }

  // ---- search

  const matching = (names, wanted) => new Set([...names.keys()].filter((code) => names[code].toLowerCase().includes(wanted)));

  function byWord(wanted, place) {
    const part = site(place).word;
    if (!part) return [];
    const names = matching(known.words, wanted);
    return [...part.codes.keys()].filter((column) => names.has(part.codes[column])).map((column) => ({
      column, name: known.words[part.codes[column]], strength: part.auc[column], evidence: `AUC ${number(part.auc[column])}, q ${number(part.q[column])}`,
    }));
  }

  const byEffect = (half) => (wanted, place) => {
    const part = site(place).effects;
    if (!part) return [];
    const names = matching(known.classes, wanted);
    const count = part.codes.length / columns(place);
    const inside = (at) => names.has(part.codes[at]) && (at % count < count / 2) === (half === "first");
    return [...part.codes.keys()].filter(inside).map((at) => {
      const item = { mean: part.mean[at], half: part.half[at] };
      return { column: Math.floor(at / count), name: known.classes[part.codes[at]], strength: Math.abs(item.mean), evidence: span(item) };
    });
  };

  function byClass(wanted, place) {
    const { categories, scores } = data.sites[place];
    if (!categories.best_class || !scores.selectivity) return [];
    const { names, data: text } = categories.best_class;
    const [places, strengths, found] = [codes(text), unpacked(scores.selectivity), matching(names, wanted)];
    return [...places.keys()].filter((column) => found.has(places[column])).map((column) => ({
      column, name: names[places[column]], strength: strengths[column] || 0, evidence: `class selectivity ${number(strengths[column])}`,
    }));
  }

  const FINDERS = { word: byWord, helps: byEffect("first"), hurts: byEffect("second"), opens: byClass };

  // Channels by kind, strongest first. A first word such as "helps" asks for that kind alone.
  function search(text) {
    const typed = text.trim().toLowerCase();
    if (!typed) return [];
    const [first] = typed.split(" ", 1);
    const one = Object.hasOwn(KINDS, first);
    const wanted = one ? typed.slice(first.length).trim() : typed;
    return (one ? [first] : Object.keys(KINDS)).map((kind) => {
      const found = data.sites.flatMap((_, place) => FINDERS[kind](wanted, place).map((item) => ({ ...item, place })));
      found.sort((a, b) => b.strength - a.strength);
      return { kind: KINDS[kind], total: found.length, found: found.slice(0, MOST) };
    }).filter(({ total }) => total);
  }

  const suggestions = () => [...new Set([...known.words, ...known.classes, ...data.classes.map(({ name }) => name)])].sort();
  return { rows, search, suggestions, hasEffects: known.classes.length > 0 || known.sites.some(({ unsuitable }) => unsuitable) };
}
