// The rank rules of src, made from the table in .dependency-ranks.json (which test/tidy.test.ts reads too).
const { ranks, notInBarrel } = require("./.dependency-ranks.json")

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")
const fileOf = (name) => `src/${name.endsWith(".json") ? name : `${name}.ts`}`
const pattern = (names) => `^(?:${names.map((name) => escaped(fileOf(name))).join("|")})$`

const rankRules = ranks.map((names, rank) => ({
  name: `rank-${rank}`,
  comment: `A file of rank ${rank} imports only files of a lower rank (.dependency-ranks.json).`,
  severity: "error",
  from: { path: pattern(names) },
  to: { path: pattern(ranks.slice(rank).flat()) }
}))

module.exports = {
  forbidden: [
    ...rankRules,
    {
      name: "unranked",
      comment: "Every file of src has a rank (.dependency-ranks.json).",
      severity: "error",
      from: {},
      to: { path: "^src/", pathNot: pattern(ranks.flat()) }
    },
    {
      name: "no-cycle",
      comment: "No file reaches itself.",
      severity: "error",
      from: {},
      to: { circular: true }
    },
    {
      name: "unresolvable",
      comment: "Every import is found.",
      severity: "error",
      from: { path: "^src/" },
      to: { couldNotResolve: true }
    },
    {
      name: "shipped-imports",
      comment:
        "src imports dependencies, peers and Node's own modules, never what only development installs.",
      severity: "error",
      from: { path: "^src/" },
      to: {
        dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"],
        dependencyTypesNot: ["npm", "npm-peer"]
      }
    },
    {
      name: "src-alone",
      comment: "src imports nothing of tests, examples, benchmarks or scripts.",
      severity: "error",
      from: { path: "^src/" },
      to: { path: "^(?:test|examples|bench|scripts)/" }
    },
    ...(notInBarrel.length === 0
      ? []
      : [
          {
            name: "not-in-barrel",
            comment: "What has an entry of its own is loaded only by it.",
            severity: "error",
            from: { path: "^src/index\\.ts$" },
            to: { path: pattern(notInBarrel), reachable: true }
          }
        ])
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["agent-budget-source", "types", "import", "node", "default"],
      extensions: [".ts", ".js", ".json"]
    }
  }
}
