// Package export takes a trained model out of this program: as ONNX, with everything inside that decides (ONNX), and as
// one portable file that this program takes wherever it takes a checkpoint (Bundle). docs/export.md says what is in
// them and how other programs use them.
package export
