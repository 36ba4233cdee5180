// Whether a package that is installed has a known hole: `npm audit`, of all but the optional ones, which are Node
// itself for machines that lack it. A registry that has no such list, or is not there, says nothing about us: that
// is told in one line and fails nothing.
import { spawnSync } from "node:child_process";

const { stdout, error } = spawnSync("npm", ["audit", "--omit=optional", "--json"], {
  encoding: "utf8",
  shell: process.platform === "win32",
});
if (error !== undefined) throw error;
const report = JSON.parse(stdout);
if (report.auditReportVersion === undefined) {
  console.log(`audit: not checked, the registry gave no list of holes: ${report.message}`);
} else {
  const holes = Object.values(report.vulnerabilities ?? {});
  for (const { name, severity, range, via } of holes) {
    const why = via.map((each) =>
      typeof each === "string" ? `by ${each}` : `${each.title} ${each.url}`,
    );
    console.log(`${name} ${range}: ${severity}, ${why.join("; ")}`);
  }
  console.log(`audit: ${holes.length} packages with known holes`);
  if (holes.length > 0) process.exitCode = 1;
}
