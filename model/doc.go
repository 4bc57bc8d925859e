// Package model is MVAG-FL: a frozen ViT encodes, a bottleneck and a small
// decoder with multi-view attention reconstruct normal features, and the
// cosine distance between the two is the anomaly map (Zhou et al., IEEE/ASME
// TMECH 30(4) 2025; decisions the paper leaves open are in docs/reference.md).
//
// Axis letters of the shape comments:
//
//	S objects in a batch      V views of an object     B = S·V pictures
//	P = g² patches            R registers              N = 1 + R + P tokens
//	C channels                H heads                  D = C/H
//
// Batches are object-major: picture s·V + j is view j of object s. Tokens are
// the class token, the registers, then the patches by rows.
package model
