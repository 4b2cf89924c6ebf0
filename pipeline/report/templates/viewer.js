// The viewer of a patient's page: library and volumes are loaded on click, from beside the page.
"use strict";
(() => {
  const box = document.getElementById("viewer");
  const [button, status] = [box.querySelector("button"), box.querySelector("[role=status]")];

  function load(file) {
    return new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = file;
      script.onload = done;
      script.onerror = () => failed(new Error(`${file} does not lie beside this page`));
      document.head.append(script);
    });
  }

  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer;

  async function show() {
    await load(box.dataset.library);
    await load(box.dataset.volumes);
    const volumes = window.suvivalVolumes;
    const [stage, controls] = [box.querySelector(".stage"), box.querySelector(".controls")];
    stage.hidden = controls.hidden = false;
    const viewer = new niivue.Niivue({ backColor: [0, 0, 0, 1], crosshairColor: [1, 1, 1, 0.6], crosshairWidth: 0.2, loadingText: "",
      sagittalNoseLeft: true, isRadiologicalConvention: true });
    await viewer.attachToCanvas(box.querySelector("canvas"));
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    const order = ["ct", "pet", "saliency", "manual", "predicted"].filter(name => name in volumes);
    for (const name of order) await viewer.loadFromArrayBuffer(bytes(volumes[name]), `${name}.nii.gz`);
    const place = name => order.indexOf(name);
    const look = { ct: "gray", pet: order.includes("ct") ? "hot" : "gray", saliency: "viridis", manual: "green", predicted: "red" };
    const windows = { ct: [-160, 240], pet: [0, Number(box.dataset.suvHigh) || 10], saliency: [0.1, 1], manual: [0.5, 1], predicted: [0.5, 1] };
    for (const name of order) {
      const volume = viewer.volumes[place(name)];
      [volume.cal_min, volume.cal_max] = windows[name];
      viewer.setColormap(volume.id, look[name]);
    }
    const [blend, contours, blink, saliency] = ["blend", "contours", "blink", "saliency"].map(name => controls.querySelector(`[name=${name}]`));
    saliency.closest("label").hidden = !order.includes("saliency");
    blink.closest("label").hidden = !(order.includes("pet") && order.includes("ct"));
    // Below one change in half a second: faster flashes can harm.
    let [timer, shown] = [0, true];
    blink.addEventListener("input", () => {
      clearInterval(timer);
      shown = true;
      if (blink.checked) timer = setInterval(() => { shown = !shown; apply(); }, 800);
      apply();
    });
    function petOpacity() {
      if (!order.includes("ct")) return 1;
      return blink.checked ? Number(shown) : Number(blend.value);
    }
    function apply() {
      if (order.includes("pet")) viewer.setOpacity(place("pet"), petOpacity());
      if (order.includes("saliency")) viewer.setOpacity(place("saliency"), saliency.checked ? 0.6 : 0);
      for (const name of ["manual", "predicted"]) {
        if (order.includes(name)) viewer.setOpacity(place(name), contours.checked ? 0.4 : 0);
      }
    }
    blend.addEventListener("input", apply);
    contours.addEventListener("input", apply);
    saliency.addEventListener("input", apply);
    apply();
    viewer.scene.crosshairPos = viewer.mm2frac(volumes.focus);
    viewer.drawScene();
    box.viewer = viewer;
  }

  button.addEventListener("click", async () => {
    button.disabled = true;
    status.textContent = "loading …";
    try {
      await show();
      status.textContent = "Scroll to move through slices, drag to move the cross.";
    } catch (error) {
      status.textContent = `The viewer does not start: ${error.message}`;
    }
  });
})();
