import { defineConfig } from "vite";

// Everything is served by the head end itself from `/`, under a policy that forbids inline scripts and other origins.
export default defineConfig({
  base: "/",
  clearScreen: false,
  build: {
    target: "es2022",
    outDir: "dist",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // hls.js is one piece of 400 KB by nature.
    chunkSizeWarningLimit: 700,
  },
});
