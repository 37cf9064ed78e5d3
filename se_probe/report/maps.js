// Maps of gates over thumbnails: bytes as `se_probe.report.channel_maps` packs them, drawn on a canvas.
"use strict";
function channelMaps(data) {
  const ZERO = 128;
  const REACH = 127;
  const decoded = new Map();
  const palette = data && bytes(data.palette);

  function site(name) {
    if (!decoded.has(name)) {
      const { images, limits, codes: text } = data.sites[name];
      decoded.set(name, { images: codes(images), limits: unpacked(limits), values: bytes(text) });
    }
    return decoded.get(name);
  }

  // The map of a channel in an image, null where there is none; sign −1 for the first of competing branches.
  function find(name, channel, image, sign) {
    const known = data?.sites[name];
    const row = known ? known.channels.indexOf(channel) : -1;
    if (row < 0 || !sign) return null;
    const { images, limits, values } = site(name);
    const [count, height, width] = known.shape;
    const place = images.subarray(row * count, (row + 1) * count).indexOf(image);
    if (place < 0) return null;
    const start = (row * count + place) * height * width;
    const shares = Array.from(values.subarray(start, start + height * width), (code) => (sign * (code - ZERO)) / REACH);
    return { height, width, shares, limit: limits[row], inPixels: known.inPixels };
  }

  // Cells as colours: over a picture, a cell is the clearer the less it does, as in the figures.
  function canvas({ height, width, shares, inPixels }, label) {
    const made = document.createElement("canvas");
    [made.width, made.height] = [width, height];
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", label);
    const pixels = new ImageData(width, height);
    const last = palette.length / 3 - 1;
    shares.forEach((share, cell) => {
      const colour = 3 * Math.round(((share + 1) / 2) * last);
      const opacity = inPixels ? Math.min(1.2 * Math.abs(share), 1) ** 0.7 : 1;
      pixels.data.set([...palette.subarray(colour, colour + 3), Math.round(255 * opacity)], 4 * cell);
    });
    made.getContext("2d").putImageData(pixels, 0, 0);
    return made;
  }

  // A central square of the picture is what the network sees: the canvas lies over that part alone.
  function over(picture, made) {
    const place = () => {
      const [width, height] = [picture.naturalWidth, picture.naturalHeight];
      const side = data.crop * Math.min(width, height);
      made.style.width = `${(100 * side) / width}%`;
      made.style.left = `${(50 * (width - side)) / width}%`;
      made.style.top = `${(50 * (height - side)) / height}%`;
    };
    if (picture.complete && picture.naturalWidth) place();
    else picture.addEventListener("load", place);
    const frame = element("span", "", "map pixels");
    frame.append(picture, made);
    return frame;
  }

  function grid(made) {
    const frame = element("span", "", "map grid");
    frame.append(made);
    return frame;
  }

  const drawn = (map, picture, label) => (map.inPixels && picture ? over(picture, canvas(map, label)) : grid(canvas({ ...map, inPixels: false }, label)));
  const channels = (name) => data.sites[name]?.channels ?? [];
  return { find, drawn, channels, any: Boolean(data) };
}
