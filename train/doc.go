// Package train optimises the model: the losses, StableAdamW, the loop with its checkpoints, and the events that a
// command shows (docs/model.md sections 2, 4, 5).
package train
