package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
)

// Contact draws a sheet of thumbnails, a row for each object and a column for each camera, nil where there is no image,
// as a PNG file of at most limit bytes. Thumbnails have up to 128 pixels on their longer side, fewer where more do not
// fit; of too many rows the last are left out. It returns the file, its image, and the number of rows on it.
func Contact(rows [][]*image.RGBA, limit int) (file []byte, sheet *image.RGBA, shown int, err error) {
	for shown = len(rows); shown > 0; shown /= 2 {
		for _, side := range []int{128, 96, 64, 48, 32, 24} {
			sheet = contact(rows[:shown], side)
			var out bytes.Buffer
			encoder := png.Encoder{CompressionLevel: png.BestCompression}
			if err := encoder.Encode(&out, sheet); err != nil {
				return nil, nil, 0, err
			}
			if out.Len() <= limit {
				return out.Bytes(), sheet, shown, nil
			}
		}
	}
	return nil, nil, 0, nil
}

// contact draws thumbnails whose longer side has at most side pixels.
func contact(rows [][]*image.RGBA, side int) *image.RGBA {
	const between = 2
	columns, pitch := 0, image.Point{}
	small := make([][]*image.RGBA, len(rows))
	for i, row := range rows {
		columns = max(columns, len(row))
		for _, img := range row {
			if img != nil {
				img = reduce(img, side)
				pitch.X, pitch.Y = max(pitch.X, img.Rect.Dx()+between), max(pitch.Y, img.Rect.Dy()+between)
			}
			small[i] = append(small[i], img)
		}
	}
	out := image.NewRGBA(image.Rect(0, 0, columns*pitch.X+between, len(rows)*pitch.Y+between))
	draw.Draw(out, out.Rect, image.NewUniform(background), image.Point{}, draw.Src)
	for y, row := range small {
		for x, img := range row {
			if img != nil {
				draw.Draw(out, img.Rect.Add(image.Pt(between+x*pitch.X, between+y*pitch.Y)), img, image.Point{}, draw.Src)
			}
		}
	}
	return out
}

// reduce makes the longer side of an image side pixels at most: each pixel is the mean of those that it covers.
func reduce(img *image.RGBA, side int) *image.RGBA {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	longer := max(w, h)
	if longer <= side {
		return img
	}
	out := image.NewRGBA(image.Rect(0, 0, max(1, w*side/longer), max(1, h*side/longer)))
	columns, rows := out.Rect.Dx(), out.Rect.Dy()
	for y := range rows {
		for x := range columns {
			var sum [3]int
			y0, y1, x0, x1 := y*h/rows, (y+1)*h/rows, x*w/columns, (x+1)*w/columns
			for v := y0; v < y1; v++ {
				for u := x0; u < x1; u++ {
					p := img.RGBAAt(img.Rect.Min.X+u, img.Rect.Min.Y+v)
					sum[0], sum[1], sum[2] = sum[0]+int(p.R), sum[1]+int(p.G), sum[2]+int(p.B)
				}
			}
			n := (y1 - y0) * (x1 - x0)
			out.SetRGBA(x, y, color.RGBA{uint8(sum[0] / n), uint8(sum[1] / n), uint8(sum[2] / n), 255})
		}
	}
	return out
}
