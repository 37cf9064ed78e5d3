// Numbers as they lie in the page, and as people read them. `se_probe.report.page` packs them.
"use strict";
const MISSING = 65535;

const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

function codes(text) {
  const read = bytes(text);
  const reader = new DataView(read.buffer);
  return Uint16Array.from({ length: read.length / 2 }, (_, index) => reader.getUint16(2 * index, true));
}

function unpacked({ low, step, data: text }) {
  return Float64Array.from(codes(text), (code) => (code === MISSING ? NaN : low + step * code));
}

function number(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 0.01 || size === 0) return value.toFixed(3);
  return size >= 0.0001 ? value.toPrecision(2) : value.toExponential(1);
}
