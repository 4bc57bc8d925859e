// Package model is MVAG-FL: a frozen ViT encodes, a bottleneck and a small decoder with multi-view attention
// reconstruct normal features, and the cosine distance between the two is the anomaly map (Zhou et al., IEEE/ASME TMECH
// 30(4) 2025). docs/model.md is the definition; docs/reference.md has the decisions that the paper leaves open.
//
// To read it, begin with [Model] (model.go), then follow the data: encoder.go with embedding.go, decoder.go with
// attention.go and views.go, residual.go with layers.go, loss.go, anomaly.go. Which operations are fused is known to
// residual.go, layers.go, attention.go, embedding.go and loss.go alone.
//
// Axis letters of the shape comments:
//
//	S objects in a batch      V views of an object     B = S·V images
//	P = g² patches            R registers              N = 1 + R + P tokens
//	C channels                H heads                  D = C/H
//
// Batches are object-major: image s·V + j is view j of object s. Tokens are the class token, the registers, then the
// patches by rows.
package model
