#include "textflag.h"

// r0 r1 g0 g1 b0 b1 as words, then r2 r3 g2 g3 b2 b3, of bytes r0 g0 b0 r1 …
DATA spread<>+0(SB)/8, $0x8004800180038000
DATA spread<>+8(SB)/8, $0x8080808080058002
DATA spread<>+16(SB)/8, $0x800a800780098006
DATA spread<>+24(SB)/8, $0x80808080800b8008
GLOBL spread<>(SB), RODATA|NOPTR, $32

// The bytes of four pixels r g b x by channel.
DATA channels<>+0(SB)/8, $0x0d0905010c080400
DATA channels<>+8(SB)/8, $0x0f0b07030e0a0602
GLOBL channels<>(SB), RODATA|NOPTR, $16

// 1 << 21, half of what 22 bits are shifted out of.
DATA half<>+0(SB)/4, $0x200000
GLOBL half<>(SB), RODATA|NOPTR, $4

// PIXEL sums up the next pixel, whose place is at DX and whose weights are at
// DI, into x: red, green, blue and nothing as bytes in 32 bits each.
#define PIXEL(loop, x) \
	MOVLQSX (DX), R11; \
	ADDQ $4, DX; \
	ADDQ CX, R11; \
	MOVQ SI, R12; \
	VPXOR Y0, Y0, Y0; \
	VPXOR Y1, Y1, Y1; \
loop: \
	VBROADCASTI128 (R11), Y2; \
	VPSHUFB Y15, Y2, Y2; \
	VPMADDWD (DI), Y2, Y3; \
	VPMADDWD 32(DI), Y2, Y4; \
	VPADDD Y3, Y0, Y0; \
	VPADDD Y4, Y1, Y1; \
	ADDQ $12, R11; \
	ADDQ $64, DI; \
	DECQ R12; \
	JNZ loop; \
	VPSLLD $11, Y0, Y0; \
	VPADDD Y1, Y0, Y0; \
	VEXTRACTI128 $1, Y0, X1; \
	VPADDD X1, X0, X0; \
	VPADDD X13, X0, X0; \
	VPSRLD $22, X0, x

// func rgbAVX2(red, green, blue, src *uint8, at *int32, words *int16, steps, n int)
TEXT ·rgbAVX2(SB), NOSPLIT, $0-64
	MOVQ red+0(FP), R8
	MOVQ green+8(FP), R9
	MOVQ blue+16(FP), R10
	MOVQ src+24(FP), CX
	MOVQ at+32(FP), DX
	MOVQ words+40(FP), DI
	MOVQ steps+48(FP), SI
	MOVQ n+56(FP), BX
	VMOVDQU spread<>(SB), Y15
	VMOVDQU channels<>(SB), X14
	VPBROADCASTD half<>(SB), X13

four:
	PIXEL(first, X8)
	PIXEL(second, X9)
	PIXEL(third, X10)
	PIXEL(fourth, X11)
	VPACKUSDW X9, X8, X8
	VPACKUSDW X11, X10, X10
	VPACKUSWB X10, X8, X8
	VPSHUFB X14, X8, X8
	VMOVD X8, (R8)
	VPEXTRD $1, X8, (R9)
	VPEXTRD $2, X8, (R10)
	ADDQ $4, R8
	ADDQ $4, R9
	ADDQ $4, R10
	SUBQ $4, BX
	JNZ four
	VZEROUPPER
	RET

// func columnAVX2(dst, rows *uint8, stride int, weights *int32, count, n int)
TEXT ·columnAVX2(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ rows+8(FP), SI
	MOVQ stride+16(FP), DX
	MOVQ weights+24(FP), R8
	MOVQ count+32(FP), R9
	MOVQ n+40(FP), BX
	VPBROADCASTD half<>(SB), Y15
	XORQ AX, AX

block:
	LEAQ (SI)(AX*1), R11
	MOVQ R8, R12
	MOVQ R9, R13
	VMOVDQA Y15, Y0
	VMOVDQA Y15, Y1

row:
	VPBROADCASTD (R12), Y4
	VPMOVZXBD (R11), Y2
	VPMOVZXBD 8(R11), Y3
	VPMULLD Y4, Y2, Y2
	VPMULLD Y4, Y3, Y3
	VPADDD Y2, Y0, Y0
	VPADDD Y3, Y1, Y1
	ADDQ DX, R11
	ADDQ $4, R12
	DECQ R13
	JNZ row

	VPSRLD $22, Y0, Y0
	VPSRLD $22, Y1, Y1
	VPACKUSDW Y1, Y0, Y0
	VPERMQ $0xd8, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPACKUSWB X1, X0, X0
	VMOVDQU X0, (DI)(AX*1)
	ADDQ $16, AX
	CMPQ AX, BX
	JEQ done
	LEAQ -16(BX), CX // the last block may overlap the one before
	CMPQ AX, CX
	CMOVQGT CX, AX
	JMP block

done:
	VZEROUPPER
	RET
