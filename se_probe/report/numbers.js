// Numbers as they lie in the page, and as people read them. `se_probe.report.encoding` packs them.
"use strict";
const MISSING = 65535;

function codes(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const reader = new DataView(bytes.buffer);
  return Uint16Array.from({ length: bytes.length / 2 }, (_, index) => reader.getUint16(2 * index, true));
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
