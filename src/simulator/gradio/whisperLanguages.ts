/** The codes of Whisper's tokenizer. https://github.com/openai/whisper/blob/main/whisper/tokenizer.py */
export const languages = (
  "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy sk te " +
  "fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht " +
  "ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"
).split(" ");

/** Those that have a model for alignment. https://github.com/m-bain/whisperX/blob/main/whisperx/alignment.py */
export const alignable =
  "en fr de es it ja zh nl uk pt ar cs ru pl hu fi fa el tr da he vi ko ur te hi ca ml no nn sk sl hr ro eu gl ka lv tl sv".split(
    " ",
  );

export function languageComplaint(language: string): string {
  const accepted = languages.toSorted().join(", ");
  return `'${language}' is not a valid language code (accepted language codes: ${accepted})`;
}
