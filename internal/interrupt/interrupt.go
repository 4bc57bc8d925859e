// Package interrupt has the error of what has ended because somebody asked for it.
package interrupt

import "context"

// Error is [context.Canceled] to errors.Is, with a text for people: what was done, and how it goes on.
type Error string

func (e Error) Error() string { return string(e) }

// Is holds for context.Canceled.
func (e Error) Is(target error) bool { return target == context.Canceled }
