/**
 * A missing package is reported by name with its install command; every other failure of an import is unchanged.
 */
import { createRequire } from "node:module"
import { expect, it } from "@effect/vitest"
import { Schema } from "effect"
import manifest from "../../package.json" with { type: "json" }
import { missing, PackageMissing } from "../../src/dag/Missing.ts"

const caught = (name: string, cause: unknown): unknown => {
  try {
    return missing(name)(cause)
  } catch (error) {
    return error
  }
}
const notFound = (message: string, code = "ERR_MODULE_NOT_FOUND") => Object.assign(new Error(message), { code })

it("says which version to install, and all that the nodes need", () => {
  const cause = notFound("Cannot find package 'sharp' imported from /a/Images.js")
  const error = caught("sharp", cause)
  expect(error).toBeInstanceOf(PackageMissing)
  const { hint, message, cause: kept } = error as PackageMissing
  expect(message).toBe("the package sharp is not installed")
  expect(hint).toContain(`npm install sharp@${manifest.devDependencies.sharp} (`)
  for (const name of Object.keys(manifest.peerDependenciesMeta))
    expect(hint).toContain(`${name}@${manifest.devDependencies[name as "sharp"]}`)
  expect(hint).not.toContain("effect")
  expect(kept).toBe(cause)
})

it("knows what import and what require.resolve say, of a package and of a file in it", () => {
  const name = "a-package-that-is-not-there"
  let resolving: unknown
  try {
    createRequire(import.meta.url).resolve(`${name}/a.wasm`)
  } catch (error) {
    resolving = error
  }
  expect(caught(name, resolving)).toBeInstanceOf(PackageMissing)
  expect(caught("@a/b", notFound("Cannot find package '@a/b' imported from x"))).toBeInstanceOf(PackageMissing)
  expect(caught("@a/b", notFound("Cannot find module '@a/b/c.wasm'\n...", "MODULE_NOT_FOUND"))).toBeInstanceOf(
    PackageMissing
  )
})

it("leaves what is about something else", () => {
  for (const cause of [
    notFound("Cannot find package 'detect-libc' imported from /node_modules/sharp/lib.js"),
    notFound("Cannot find package 'sharper' imported from /a.js"),
    notFound("Cannot find package 'sharp'", "ERR_DLOPEN_FAILED"),
    "no error at all"
  ])
    expect(caught("sharp", cause)).toBe(cause)
})

it.prop("throws every error that is not about a package unchanged", [Schema.String], ([text]) => {
  const cause = new Error(text)
  expect(caught("sharp", cause)).toBe(cause)
})
