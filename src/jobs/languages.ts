/** The languages of Whisper, by its own codes. https://github.com/openai/whisper/blob/main/whisper/tokenizer.py */
export const languageCodes = (
  "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id is it ja " +
  "jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq " +
  "sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh"
).split(" ");

/** Those for which WhisperX knows a model that aligns words with sound. https://github.com/m-bain/whisperX/blob/main/whisperx/alignment.py */
const aligned = new Set(
  "en fr de es it ja zh nl uk pt ar cs ru pl hu fi fa el tr da he vi ko ur te hi ca ml no nn sk sl hr ro eu gl ka lv tl sv".split(
    " ",
  ),
);

/** Whether the words of a language can be given their times. */
export function canBeAligned(code: string): boolean {
  return aligned.has(code);
}

/** Codes and names for which Whisper has another one; each line is a code of Whisper's and what else it is called. */
const otherNames = new Map(
  [
    "no=nb,nob,nor,norwegian bokmål,norwegian bokmal,bokmål,bokmal",
    "nn=nno,nynorsk",
    "tl=fil,tagalog",
    "jw=jv,jav",
    "zh=cmn,chi,mandarin,mandarin chinese",
    "yue=zh-yue,cantonese",
    "he=iw",
    "id=in",
    "ro=mo,rum,moldavian,moldovan",
    "sr=sh,hbs,serbo-croatian,serbocroatian",
    "fa=per,farsi",
    "nl=dut,flemish",
    "my=bur,burmese",
    "el=gre",
    "ca=valencian",
    "es=castilian",
    "ht=haitian",
    "lb=letzeburgesch",
    "ps=pushto",
    "pa=panjabi",
    "si=sinhalese",
    // The other three letters that ISO 639-2 has for some.
    ...["de=ger", "fr=fre", "cs=cze", "sk=slo", "mk=mac", "sq=alb", "hy=arm", "eu=baq", "ka=geo", "is=ice", "mi=mao"],
    ...["ms=may", "bo=tib", "cy=wel"],
    // Codes of groups that Whisper knows as one.
    ...["sw=swa", "mn=mon", "lv=lav", "et=est", "uz=uzb", "az=aze", "yi=yid"],
  ].flatMap((line) => {
    const [code = "", others = ""] = line.split("=");
    return others.split(",").map((name) => [name, code] as const);
  }),
);
/** What people write when they want it to be found out. */
const unknownLanguage = new Set([
  "",
  "auto",
  "automatic",
  "autodetect",
  "auto-detect",
  "auto_detect",
  "detect",
  "none",
  "null",
  "unknown",
  "und",
  "mul",
  "any",
]);
const dialects =
  "en-US en-GB en-AU en-CA en-IN pt-BR pt-PT zh-Hans zh-Hant es-ES es-MX es-419 fr-CA fr-CH de-AT de-CH".split(" ");

/** In English and in the language itself. */
const names = new Map(
  [...languageCodes, ...dialects].flatMap((code) => {
    const locale = code === "jw" ? "jv" : code;
    return ["en", locale].flatMap((shown) => {
      const name = new Intl.DisplayNames([shown], { type: "language", fallback: "none" }).of(locale);
      return name === undefined ? [] : [[name.toLowerCase(), code.slice(0, code.indexOf("-") >>> 0)] as const];
    });
  }),
);

/**
 * Whisper's code for what people write for a language: `EN`, `en-US`, `en_US`, `eng`, `English`, `Deutsch`; empty for
 * `auto` and the like.
 * @returns undefined when it is none of its languages
 */
export function languageCodeOf(written: string): string | undefined {
  const text = written.trim().toLowerCase().normalize("NFC");
  if (unknownLanguage.has(text)) return "";
  const known = otherNames.get(text) ?? names.get(text) ?? names.get(text.split(" (")[0] ?? "");
  if (known !== undefined) return known;
  const code = primaryCode(text);
  return [otherNames.get(code), code].find((candidate) => candidate !== undefined && languageCodes.includes(candidate));
}

/** Of a BCP 47 tag, or of a POSIX locale: `zh-yue` is `yue`, and `eng`, three letters of ISO 639-2, are `en`. */
function primaryCode(text: string): string {
  const tag = text.split(/[.@]/)[0]?.replaceAll("_", "-") ?? "";
  try {
    return new Intl.Locale(tag).language;
  } catch {
    // No tag at all.
    return "";
  }
}
