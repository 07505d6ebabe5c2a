// The viewer of volumes: a dialog around NiiVue, which is started with the first patient that is opened.
"use strict";
(() => {
  const dialog = document.getElementById("viewer");
  if (!dialog) return;
  const cases = JSON.parse(document.getElementById("viewer-cases").textContent);
  const part = (name) => dialog.querySelector(`[data-part="${name}"]`);
  const canvas = part("canvas");
  const TRUTH = [34, 211, 74];
  const PREDICTIONS = [[255, 106, 26], [90, 170, 255], [230, 120, 220], [240, 210, 60]];

  let nv = null; // NiiVue
  let index = 0; // of the patient that is shown
  let loaded = null; // its volumes: { key, images: [NVImage], truth, masks: [NVImage], probabilities: [NVImage] }
  let turn = 0; // counts what was asked for, so that a slow answer does not overtake a later wish
  const state = { modality: 0, outlines: true, probabilities: false, layers: [], view: 3 };

  const say = (text) => { part("status").textContent = text; };
  const colour = (layer) => (layer === 0 ? TRUTH : PREDICTIONS[(layer - 1) % PREDICTIONS.length]);

  function tell(at) {
    const [x, y, z] = at.mm;
    // Of all that is known there, whichever layers are shown.
    const known = [...loaded.images, loaded.truth, ...loaded.masks, ...loaded.probabilities];
    const values = known.map((one) => `${one.name.replace(".nii.gz", "")} ${Number(one.getValue(...at.vox).toPrecision(3))}`);
    say(`right-left ${x.toFixed(0)}, back-front ${y.toFixed(0)}, feet-head ${z.toFixed(0)} mm · ${values.join(" · ")}`);
  }

  function start() {
    if (nv) return;
    // Run only now: reading two megabytes of script would hold up a page that may never need them.
    const script = document.createElement("script");
    script.textContent = document.getElementById("niivue-source").textContent;
    document.head.append(script);
    nv = new niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.6, 0.8, 1, 0.55],
      fontColor: [0.75, 0.85, 1, 1],
      isRadiologicalConvention: true,
      dragAndDropEnabled: false,
      show3Dcrosshair: true,
      isColorbar: false,
      logLevel: "error",
      loadingText: "",
      onLocationChange: tell,
    });
    const flat = ([r, g, b]) => ({ R: [r, r], G: [g, g], B: [b, b], A: [0, 255], I: [0, 255] });
    for (const layer of [0, 1, 2, 3, 4]) nv.addColormap(`layer${layer}`, flat(colour(layer)));
    const drawScene = nv.drawScene.bind(nv);
    nv.drawScene = () => {
      const told = drawScene();
      drawOutlines();
      return told;
    };
    return nv.attachToCanvas(canvas, false);
  }

  const image = (key, options) =>
    niivue.NVImage.loadFromBase64({
      base64: document.getElementById(`volume-${key}`).textContent,
      name: `${options.title}.nii.gz`,
      ...options,
    });

  async function load(entry) {
    const images = [];
    const masks = [];
    const probabilities = [];
    const flat = { cal_min: 0.5, cal_max: 0.6 };
    for (const [number, held] of entry.modalities.entries()) {
      images.push(await image(held.image, {
        title: held.name, colormap: "gray", cal_min: held.window[0], cal_max: held.window[1],
      }));
      masks.push(await image(held.mask, { title: `mask(${held.name})`, colormap: `layer${number + 1}`, ...flat }));
      probabilities.push(await image(held.probability, {
        title: `p(${held.name})`, colormap: "inferno", cal_min: 0.05, cal_max: 1,
      }));
    }
    const truth = await image(entry.truth, { title: "truth", colormap: "layer0", ...flat });
    return { key: entry.key, images, truth, masks, probabilities };
  }

  function dress() {
    state.layers.forEach((layer, number) => {
      // Probabilities are seen through the truth's outline alone.
      const hidden = number === 0 && state.outlines && state.probabilities;
      nv.volumes[number + 1].opacity = layer.on && !hidden ? layer.opacity : 0;
    });
    // In slices only: in 3-D there are no outlines.
    nv.overlayAlphaShader = state.outlines && !state.probabilities ? 0 : 1;
    nv.updateGLVolume();
  }

  function drawOutlines() {
    const shown = [];
    if (state.outlines && loaded) {
      state.layers.forEach((layer, number) => {
        if (!layer.on || (state.probabilities && number > 0)) return;
        shown.push({ mask: number ? loaded.masks[number - 1] : loaded.truth, colour: colour(number), opacity: Math.min(1, layer.opacity + 0.3) });
      });
    }
    outlines.draw(nv, part("outline-canvas"), shown);
  }

  function stack(keepPlace) {
    const at = keepPlace ? [...nv.scene.crosshairPos] : null;
    while (nv.volumes.length) nv.removeVolume(nv.volumes[nv.volumes.length - 1]);
    const layers = state.probabilities ? loaded.probabilities : loaded.masks;
    for (const volume of [loaded.images[state.modality], loaded.truth, ...layers]) nv.addVolume(volume);
    // In voxels: about as thin in a coarse volume as in a fine one.
    nv.opts.crosshairWidth = 0.003 * Math.max(...nv.volumes[0].dimsRAS.slice(1, 4));
    nv.scene.crosshairPos = at || nv.mm2frac(cases[index].focus_mm, 0, true);
    nv.setSliceType(state.view);
    dress();
    nv.createOnLocationChange();
  }

  function controls() {
    const entry = cases[index];
    const modalities = part("modalities");
    modalities.replaceChildren(...entry.modalities.map((held, number) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), {
        type: "radio", name: "viewer-modality", checked: number === state.modality,
      });
      input.addEventListener("change", () => choose(number));
      label.append(input, held.dice === null || held.dice === undefined ? held.name : `${held.name} (network's DSC ${held.dice.toFixed(3)})`);
      return label;
    }));
    part("layers").replaceChildren(...state.layers.map((layer, number) => {
      const box = document.createElement("div");
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "checkbox", checked: layer.on });
      const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
      swatch.style.color = `rgb(${colour(number).join(",")})`;
      const range = Object.assign(document.createElement("input"), { type: "range", min: 0.1, max: 1, step: 0.05, value: layer.opacity });
      range.setAttribute("aria-label", `opacity of ${layer.name}`);
      input.addEventListener("change", () => { layer.on = input.checked; dress(); });
      range.addEventListener("input", () => { layer.opacity = Number(range.value); dress(); });
      label.append(input, swatch, layer.name);
      box.append(label, range);
      return box;
    }));
    for (const name of ["outlines", "probabilities"]) part(name).checked = state[name];
    part("view").value = String(state.view);
  }

  function choose(number) {
    state.modality = number;
    // Whoever looks at a modality sees what its own network found.
    state.layers.forEach((layer, place) => { if (place) layer.on = place - 1 === number; });
    controls();
    stack(true);
  }

  async function show(number) {
    const mine = ++turn;
    index = (number + cases.length) % cases.length;
    const entry = cases[index];
    part("title").textContent = `${entry.case} · place ${entry.place} of ${entry.of}, worst first · ${entry.run}`;
    dialog.dataset.state = "loading";
    say("loading…");
    try {
      await start();
      const found = await load(entry);
      if (mine !== turn || !dialog.open) return;
      loaded = found;
      state.modality = Math.min(state.modality, entry.modalities.length - 1);
      const opacity = (place) => (state.layers[place] ? state.layers[place].opacity : 0.5);
      state.layers = [
        { name: "truth", on: state.layers[0] ? state.layers[0].on : true, opacity: opacity(0) },
        ...entry.modalities.map((held, place) => ({
          name: `prediction of the ${held.name} network`, on: place === state.modality, opacity: opacity(place + 1),
        })),
      ];
      controls();
      stack(false);
      dialog.dataset.state = "shown";
    } catch (error) {
      dialog.dataset.state = "failed";
      say(`This browser cannot show the volume (${error.message || error}). The viewer needs WebGL 2.`);
    }
  }

  function open(key) {
    const found = cases.findIndex((entry) => entry.key === key);
    if (found < 0) return;
    dialog.showModal();
    canvas.focus();
    show(found);
  }

  const toggle = (place) => {
    const layer = state.layers[place];
    if (!layer) return;
    layer.on = !layer.on;
    controls();
    dress();
  };
  const change = (name) => {
    state[name] = !state[name];
    controls();
    stack(true);
  };
  const move = (x, y, z) => () => { nv.moveCrosshairInVox(x, y, z); };
  const keys = {
    t: () => toggle(0),
    p: () => toggle(state.modality + 1),
    m: () => choose((state.modality + 1) % cases[index].modalities.length),
    l: () => change("outlines"),
    o: () => change("probabilities"),
    n: () => show(index + 1),
    b: () => show(index - 1),
    ArrowLeft: move(-1, 0, 0), ArrowRight: move(1, 0, 0),
    ArrowUp: move(0, 1, 0), ArrowDown: move(0, -1, 0),
    PageUp: move(0, 0, 1), PageDown: move(0, 0, -1),
  };
  // Before NiiVue's own keys, which mean other things.
  dialog.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select") && event.key.length > 1;
    const wish = !typing && !event.ctrlKey && !event.altKey && !event.metaKey && keys[event.key];
    if (!wish || dialog.dataset.state !== "shown") return;
    event.preventDefault();
    event.stopPropagation();
    wish();
  }, true);
  part("close").addEventListener("click", () => dialog.close());
  part("next").addEventListener("click", () => show(index + 1));
  part("previous").addEventListener("click", () => show(index - 1));
  for (const name of ["outlines", "probabilities"]) part(name).addEventListener("change", () => change(name));
  part("view").addEventListener("change", (event) => { state.view = Number(event.target.value); nv.setSliceType(state.view); });

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("button.open, .case.viewable .pictures");
    if (opener) open(opener.closest("[data-case]").dataset.case);
  });
})();
