import type { ProcessLimits } from "../process/processLimits.ts";

/** Containers that carry their own sound. Playlists and the like lead to other files and are none. */
const containers =
  "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,loas,matroska,webm,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nut,ogg,oma,qcp,rm,tak,tta,voc,w64,wav,wv";

/** How people's files are encoded. The hundreds of others are of old games, and hardly anybody looks after them. */
const codecs = [
  "aac,aac_fixed,aac_latm,libfdk_aac,ac3,ac3_fixed,eac3,mlp,truehd,dca,alac,als,ape,flac,tak,tta,shorten,wavpack",
  "amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,evrc,g722,g723_1,g726,g726le,g729,gsm,gsm_ms,libgsm,libgsm_ms,ilbc",
  "libilbc,qcelp,speex,libspeex,opus,libopus,vorbis,libvorbis,mp1,mp1float,mp2,mp2float,mp3,mp3float,mp3adu,mp3adufloat",
  "mp3on4,mp3on4float,mpc7,mpc8,nellymoser,cook,real_144,real_288,ralf,sipr,atrac1,atrac3,atrac3plus,mace3,mace6,qdm2,qdmc",
  "wmalossless,wmapro,wmav1,wmav2,wmavoice,truespeech,dsd_lsbf,dsd_lsbf_planar,dsd_msbf,dsd_msbf_planar,dst,s302m,dvaudio",
  "8svx_exp,8svx_fib,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_bluray,pcm_dvd",
  "pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_s16be,pcm_s16be_planar,pcm_s16le,pcm_s16le_planar,pcm_s24be,pcm_s24daud",
  "pcm_s24le,pcm_s24le_planar,pcm_s32be,pcm_s32le,pcm_s32le_planar,pcm_s64be,pcm_s64le,pcm_s8,pcm_s8_planar,pcm_u16be",
  "pcm_u16le,pcm_u24be,pcm_u24le,pcm_u32be,pcm_u32le,pcm_u8",
  "h264,hevc,vvc,av1,libdav1d,libaom-av1,vp3,vp5,vp6,vp6a,vp6f,vp7,vp8,vp9,libvpx,libvpx-vp9,theora,h261,h263,h263i,h263p",
  "mpeg1video,mpeg2video,mpegvideo,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,wmv1,wmv2,wmv3,vc1,mss1,mss2,flv,flashsv,flashsv2",
  "rv10,rv20,rv30,rv40,svq1,svq3,cinepak,qtrle,prores,dnxhd,cfhd,hap,dvvideo,ffv1,ffvhuff,huffyuv,utvideo,rawvideo,v210",
  "r210,mjpeg,mjpegb,jpeg2000,msrle,msvideo1,zmbv,zlib,tscc,tscc2,g2m,png,apng,bmp,gif,tiff,webp",
  "mov_text,subrip,srt,ass,ssa,webvtt,text,dvdsub,dvbsub,pgssub,xsub,cc_dec",
].join();

/** 4096×4096: a film of eight thousand pixels is nothing that lips are put on. */
export const MAX_FILM_PIXELS = 16_777_216;
const MAX_ALLOCATION = 256 * 1024 * 1024;
/** A film with subtitles in all languages, and their fonts, has some ninety. */
const MAX_STREAMS = 200;

/** No file may lead ffmpeg to another one, or to the network, or make it take what it wants. */
export const CONFINED = [
  ...["-hide_banner", "-protocol_whitelist", "file,pipe", "-format_whitelist", containers, "-codec_whitelist", codecs],
  ...["-max_streams", `${MAX_STREAMS}`, "-max_alloc", `${MAX_ALLOCATION}`],
  ...["-threads", "2"],
];

/** For who decodes: a probe is to tell the size of what is too large. */
export const MAX_PIXELS = ["-max_pixels", `${MAX_FILM_PIXELS}`];

/** Many times what a long recording needs on a slow machine. */
export const MEDIA_LIMITS: ProcessLimits = {
  memoryBytes: 768 * 1024 * 1024,
  cpuSeconds: 900,
  fileBytes: 1024 * 1024 * 1024,
};
export const PROBE_LIMITS: ProcessLimits = { ...MEDIA_LIMITS, cpuSeconds: 60 };

const RATES = { min: 1000, max: 768_000 };
const MAX_CHANNELS = 64;

/** What a track of sound says of itself and cannot be, in a sentence; undefined: nothing. */
export function absurdityOf({ sampleRate, channels }: { sampleRate: number; channels: number }): string | undefined {
  if (channels > MAX_CHANNELS) return `its sound has ${channels} channels, and may have ${MAX_CHANNELS} at most`;
  // Without a rate, the decoder finds it, or refuses.
  if (sampleRate === 0 || (sampleRate >= RATES.min && sampleRate <= RATES.max)) return undefined;
  return `its sound has ${sampleRate} samples a second, and may have ${RATES.min} to ${RATES.max}`;
}
