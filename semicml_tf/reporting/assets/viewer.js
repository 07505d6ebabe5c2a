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
  // Of several classes, truth and prediction of a class have one colour; the prediction's outline is dashed.
  const CLASSES = [[255, 212, 0], [42, 169, 255], [255, 90, 31], [25, 210, 25], [224, 123, 255], [0, 213, 200], [255, 143, 184], [180, 180, 255]];

  let nv = null; // NiiVue
  let index = 0; // of the patient that is shown
  // Its volumes: { key, images: [NVImage], truths: [NVImage] by class, masks: by modality and class, probabilities: as masks }.
  let loaded = null;
  let turn = 0; // counts what was asked for, so that a slow answer does not overtake a later wish
  // A layer: { name, modality (null of the truth), of (its class), colour, on, opacity }.
  const state = { modality: 0, outlines: true, probabilities: false, layers: [], view: 3 };

  const say = (text) => { part("status").textContent = text; };
  const several = () => cases[index].classes.length > 1;
  const colour = (modality, of) => {
    if (several()) return CLASSES[of % CLASSES.length];
    return modality === null ? TRUTH : PREDICTIONS[modality % PREDICTIONS.length];
  };
  const flat = (rgb) => {
    const name = `flat-${rgb.join("-")}`;
    const [r, g, b] = rgb;
    nv.addColormap(name, { R: [r, r], G: [g, g], B: [b, b], A: [0, 255], I: [0, 255] });
    return name;
  };
  // With several classes, predictions of the other modalities would fill the list.
  const listed = () => state.layers.filter((layer) => !several() || layer.modality === null || layer.modality === state.modality);
  const maskOf = (layer) => (layer.modality === null ? loaded.truths[layer.of] : loaded.masks[layer.modality][layer.of]);

  function tell(at) {
    const [x, y, z] = at.mm;
    // Of all that is known there, whichever layers are shown; of several classes, the modality's own.
    const own = (of) => (several() ? of[state.modality] : of.flat());
    const known = [...loaded.images, ...loaded.truths, ...own(loaded.masks), ...own(loaded.probabilities)];
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
    const binary = { cal_min: 0.5, cal_max: 0.6 };
    const named = (what, of) => (several() ? `${what} ${entry.classes[of]}` : what);
    for (const [number, held] of entry.modalities.entries()) {
      images.push(await image(held.image, {
        title: held.name, colormap: "gray", cal_min: held.window[0], cal_max: held.window[1],
      }));
      masks.push([]);
      probabilities.push([]);
      for (const [of, key] of held.masks.entries()) {
        masks[number].push(await image(key, { title: `mask(${named(held.name, of)})`, colormap: flat(colour(number, of)), ...binary }));
        probabilities[number].push(await image(held.probabilities[of], {
          title: `p(${named(held.name, of)})`, colormap: "inferno", cal_min: 0.05, cal_max: 1,
        }));
      }
    }
    const truths = [];
    for (const [of, key] of entry.truths.entries()) {
      truths.push(await image(key, { title: named("truth", of), colormap: flat(colour(null, of)), ...binary }));
    }
    return { key: entry.key, images, truths, masks, probabilities };
  }

  function dress() {
    listed().forEach((layer, number) => {
      // Probabilities are seen through the truth's outline alone.
      const hidden = layer.modality === null && state.outlines && state.probabilities;
      nv.volumes[number + 1].opacity = layer.on && !hidden ? layer.opacity : 0;
    });
    // In slices only: in 3-D there are no outlines.
    nv.overlayAlphaShader = state.outlines && !state.probabilities ? 0 : 1;
    nv.updateGLVolume();
  }

  function drawOutlines() {
    const shown = [];
    if (state.outlines && loaded) {
      listed().forEach((layer) => {
        if (!layer.on || (state.probabilities && layer.modality !== null)) return;
        const dashed = several() && layer.modality !== null;
        shown.push({ mask: maskOf(layer), colour: layer.colour, opacity: Math.min(1, layer.opacity + 0.3), dashed });
      });
    }
    outlines.draw(nv, part("outline-canvas"), shown);
  }

  function stack(keepPlace) {
    const at = keepPlace ? [...nv.scene.crosshairPos] : null;
    while (nv.volumes.length) nv.removeVolume(nv.volumes[nv.volumes.length - 1]);
    const volumeOf = (layer) => (state.probabilities && layer.modality !== null ? loaded.probabilities[layer.modality][layer.of] : maskOf(layer));
    for (const volume of [loaded.images[state.modality], ...listed().map(volumeOf)]) nv.addVolume(volume);
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
    part("layers").replaceChildren(...listed().map((layer) => {
      const box = document.createElement("div");
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "checkbox", checked: layer.on });
      const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
      swatch.style.color = `rgb(${layer.colour.join(",")})`;
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
    state.layers.forEach((layer) => { if (layer.modality !== null) layer.on = layer.modality === number; });
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
      const before = state.layers;
      state.layers = [];
      const add = (name, modality) => {
        for (const of of entry.truths.keys()) {
          const held = before[state.layers.length];
          state.layers.push({
            name: several() ? `${entry.classes[of]}: ${name.split(" of ")[0]}` : name,
            modality,
            of,
            colour: colour(modality, of),
            on: modality === null ? (held ? held.on : true) : modality === state.modality,
            opacity: held ? held.opacity : 0.5,
          });
        }
      };
      add("truth", null);
      entry.modalities.forEach((held, place) => add(`prediction of the ${held.name} network`, place));
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

  const toggle = (modality) => {
    const layers = state.layers.filter((layer) => layer.modality === modality);
    const on = !layers.some((layer) => layer.on);
    layers.forEach((layer) => { layer.on = on; });
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
    t: () => toggle(null),
    p: () => toggle(state.modality),
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
