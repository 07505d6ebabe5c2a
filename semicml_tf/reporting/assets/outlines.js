// Outlines of masks over NiiVue's slices, on a canvas above its own. NiiVue draws outlines, too, but one around all
// layers together, which hides where truth and prediction differ.
"use strict";
const outlines = (() => {
  // How NiiVue lays a slice out: which of left-right, back-front, feet-head run across and up, and which one through it.
  const PLANES = [[0, 1, 2], [0, 2, 1], [1, 2, 0]]; // axial, coronal, sagittal

  // Corners of a square of four voxel centres (1, 2, 4, 8 anticlockwise from the lower left one) to the sides that the
  // border crosses: 0 below, 1 right, 2 above, 3 left.
  const SIDES = [[], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], [[3, 0], [1, 2]], [[0, 2]], [[3, 2]],
    [[2, 3]], [[2, 0]], [[0, 1], [2, 3]], [[2, 1]], [[1, 3]], [[1, 0]], [[0, 3]], []];
  const MIDDLES = [[0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]];

  // The border of a slice of a mask as pieces of lines, [x, y, x, y] in voxels: half-way between inside and outside.
  function border(mask, plane, slice) {
    const [across, up, through] = PLANES[plane];
    const dims = mask.dimsRAS;
    const [width, height] = [dims[across + 1], dims[up + 1]];
    const inside = new Uint8Array((width + 2) * (height + 2)); // a frame of background closes what touches the border
    const at = [0, 0, 0];
    at[through] = slice;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        at[across] = x;
        at[up] = y;
        inside[(y + 1) * (width + 2) + x + 1] = mask.getValue(...at) > 0.5 ? 1 : 0;
      }
    }
    const pieces = [];
    for (let y = 0; y <= height; y++) {
      for (let x = 0; x <= width; x++) {
        const place = y * (width + 2) + x;
        const above = place + width + 2;
        const corners = inside[place] + 2 * inside[place + 1] + 4 * inside[above + 1] + 8 * inside[above];
        for (const [from, to] of SIDES[corners]) {
          pieces.push([x - 1 + MIDDLES[from][0], y - 1 + MIDDLES[from][1], x - 1 + MIDDLES[to][0], y - 1 + MIDDLES[to][1]]);
        }
      }
    }
    return pieces;
  }

  const known = new WeakMap(); // by mask: borders by plane and slice

  function borderOf(mask, plane, slice) {
    if (!known.has(mask)) known.set(mask, new Map());
    const held = known.get(mask);
    const key = `${plane} ${slice}`;
    if (!held.has(key)) held.set(key, border(mask, plane, slice));
    return held.get(key);
  }

  // Voxels of a slice to pixels of the canvas, as NiiVue draws them.
  function onto(nv, tile, plane, slice, dims) {
    const [across, up, through] = PLANES[plane];
    let [left, top, width, height] = tile.leftTopWidthHeight;
    const mirrored = width < 0;
    if (mirrored) [left, width] = [left + width, -width];
    const place = (x, y) => {
      const share = [0, 0, 0];
      share[across] = (x + 0.5) / dims[across + 1];
      share[up] = (y + 0.5) / dims[up + 1];
      share[through] = (slice + 0.5) / dims[through + 1];
      const mm = nv.frac2mm(share, 0, nv.opts.isSliceMM);
      const right = (mm[across] - tile.leftTopMM[0]) / tile.fovMM[0];
      const higher = (mm[up] - tile.leftTopMM[1]) / tile.fovMM[1];
      return [left + (mirrored ? 1 - right : right) * width, top + (1 - higher) * height];
    };
    // It is linear: three places tell all others.
    const [origin, x, y] = [place(0, 0), place(1, 0), place(0, 1)];
    const draw = (u, v) => [0, 1].map((axis) => origin[axis] + u * (x[axis] - origin[axis]) + v * (y[axis] - origin[axis]));
    return { draw, box: [left, top, width, height] };
  }

  // Draws layers of { mask, colour, opacity, dashed } over all slices that NiiVue shows.
  function draw(nv, canvas, layers) {
    [canvas.width, canvas.height] = [nv.gl.canvas.width, nv.gl.canvas.height];
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.lineWidth = 1.6 * (window.devicePixelRatio || 1);
    pen.lineJoin = pen.lineCap = "round";
    for (const tile of layers.length ? nv.screenSlices : []) {
      const plane = tile.axCorSag;
      if (!PLANES[plane] || !tile.fovMM || !tile.fovMM.length) continue;
      const dims = layers[0].mask.dimsRAS;
      const through = PLANES[plane][2];
      const size = dims[through + 1];
      const slice = Math.min(Math.max(Math.floor(nv.scene.crosshairPos[through] * size), 0), size - 1);
      const way = onto(nv, tile, plane, slice, dims);
      pen.save();
      pen.beginPath();
      pen.rect(...way.box);
      pen.clip();
      for (const { mask, colour, opacity, dashed } of layers) {
        pen.strokeStyle = `rgb(${colour.join(" ")} / ${opacity})`;
        pen.beginPath();
        for (const [x, y, toX, toY] of borderOf(mask, plane, slice)) {
          if (dashed && (Math.floor(x / 2) + Math.floor(y / 2)) % 2) continue;
          pen.moveTo(...way.draw(x, y));
          pen.lineTo(...way.draw(toX, toY));
        }
        pen.stroke();
      }
      pen.restore();
    }
  }

  return { draw };
})();
