/** What the CSM app is called with: every parameter, as it wants it. */
export const csmParameters = {
  speaker_voice: "conversational_a",
  speaker_text: "",
  speaker_audio: null,
  monologue_json: '["Hello."]',
  temperature: 0.9,
  topk: 50,
  max_audio_length: 10_000,
  pause_duration: 150,
};
