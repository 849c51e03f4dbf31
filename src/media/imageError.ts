/** A picture that cannot be used; the message continues the sentence "this picture …". */
export class ImageError extends Error {
  override name = "ImageError";
}

/** Something else than a picture. */
export class NoImage extends ImageError {
  override name = "NoImage";
}
