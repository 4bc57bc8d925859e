package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
	"mvag-torch/serve/publish"
)

// newRequests makes what takes objects from the MQTT broker; nil where none is to be asked.
func (s *Service) newRequests() (*publish.Requests, error) {
	if s.cfg.MQTT == nil || s.cfg.MQTT.Inspect == "" {
		return nil, nil
	}
	r, err := publish.NewRequests(*s.cfg.MQTT, s.journal.Name())
	if err != nil {
		return nil, fmt.Errorf("mqtt: %w", err)
	}
	r.Judge, r.Log = s.judgeMessage, s.log
	r.Refused = func() { s.metrics.Error(metrics.Form) }
	return r, nil
}

// judgeMessage judges the object of a message.
func (s *Service) judgeMessage(ctx context.Context, r publish.Request) error {
	model, err := s.line.Pick(r.Model, r.Class)
	if err != nil {
		return err
	}
	var parts []line.Part
	for _, camera := range slices.Sorted(maps.Keys(r.Images)) {
		parts = append(parts, line.Part{Camera: cmp.Or(camera, line.SinglePart), Data: r.Images[camera]})
	}
	object, err := model.Object(r.Object, r.Class, parts)
	if err != nil {
		return err
	}
	_, err = s.line.Judge(ctx, line.Request{Model: model.Name, Source: line.FromMQTT, Key: r.Key, Object: object})
	return retried(err)
}

// retried marks errors that may be gone when the object is judged again.
func retried(err error) error {
	var busy *line.BusyError
	var store *line.StoreError
	if errors.As(err, &busy) || errors.As(err, &store) || errors.Is(err, line.ErrClosed) {
		return fmt.Errorf("%w: %w", publish.ErrAgain, err)
	}
	return err
}
