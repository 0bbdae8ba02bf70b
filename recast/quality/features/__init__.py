"""What can be seen in a real picture, by networks that lie in a local folder: each optional, its absence reported.

    files       where the networks lie, which of them are there, and their checksums
    faces       a picture → faces, their identity vectors; a pair of pictures → the likeness of the same person
    clip        pictures and captions → vectors; did the picture move the way the captions say?
    dino        a crop → its class token, for characters that are no people
    perceptual  two pictures → LPIPS, as one number and as a map
    reading     a picture → lines of text
    boxes       a picture and a noun phrase → boxes, a count, a mask
    judge       pictures and closed questions → yes, no or unclear, by a model behind a chat endpoint
    regions     boxes and masks on a picture, shared by the rest
    onnx_files  ONNX files opened for one fixed number of threads, and their first nodes

Pictures are uint8 (H, W, 3) sRGB. Nothing is ever downloaded. What a measure used is in its `describe()`.
"""
