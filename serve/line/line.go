// Package line judges objects with one model or several, and stores what it says of each in a journal before anyone is
// told. Whatever brings objects, by HTTP, folder or MQTT, calls [Line.Judge].
package line
