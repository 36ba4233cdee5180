/** Certificates for tests, made by openssl in a folder of the test's own. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export interface TestAuthority {
  readonly ca: string;
  /** Makes `<name>.crt` and `<name>.key` for this machine; the same name again replaces them. */
  issue(name: string, days?: number): { readonly cert: string; readonly key: string };
}

export function testAuthority(folder: string, name = "ca"): TestAuthority {
  const at = (file: string): string => join(folder, file);
  const openssl = (...words: readonly string[]): void => {
    execFileSync("openssl", words, { stdio: ["ignore", "ignore", "pipe"] });
  };
  const newKey = (file: string): readonly string[] => {
    const curve = "ec_paramgen_curve:P-256";
    return ["-newkey", "ec", "-pkeyopt", curve, "-nodes", "-keyout", at(file)];
  };
  const [caKey, ca] = [`${name}.key`, at(`${name}.crt`)];
  openssl("req", "-x509", ...newKey(caKey), "-out", ca, "-subj", `/CN=${name}`, "-days", "400");
  return {
    ca,
    issue: (leaf, days = 300) => {
      const [key, cert] = [`${leaf}.key`, at(`${leaf}.crt`)];
      const [request, names] = [at(`${leaf}.csr`), at(`${leaf}.names`)];
      openssl("req", "-new", ...newKey(key), "-out", request, "-subj", `/CN=${leaf}`);
      writeFileSync(names, "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n");
      const signer = ["-CA", ca, "-CAkey", at(caKey), "-CAcreateserial", "-extfile", names];
      openssl("x509", "-req", "-in", request, "-out", cert, ...signer, "-days", String(days));
      return { cert, key: at(key) };
    },
  };
}
