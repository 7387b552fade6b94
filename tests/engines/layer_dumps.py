"""What the compilers print of their layers."""

# Written after TensorRT-RTX 1.7.1 (SM 86) for an int8 file; node names are parted by an invisible character.
RTX_DUMP = """Layers:
Name: __myl_CastTranMulMinMaxRounCast_myl0_0, LayerType: kgen, Inputs: [ { Name: frame, Dimensions: [1,64,64,3], \
Strides: [12288,192,3,1], StrideOrder: [3,2,1,0], Datatype: UInt8, Format: (Linear) Row major linear format }], \
Constants: [ { Name: c0, Dimensions: [1,3,1,1], Datatype: Float, Format: (Linear) Row major linear format }], \
Outputs: [ { Name: q0, Dimensions: [1,3,64,64], Datatype: Int8, Format: (NHWC) Channel major format }], \
TacticName: t0, StreamId: 0, Metadata: [ONNX Layer: cast]\x1f[ONNX Layer: mul]
Name: stem_myl0_1, LayerType: correlation, Inputs: [ { Name: q0, Dimensions: [1,3,64,64], Datatype: Int8, \
Format: (NHWC) Channel major format }], Constants: [ { Name: w0, Dimensions: [16,3,3,3], Datatype: Int8, Format: x }], \
Outputs: [ { Name: y0, Dimensions: [1,16,64,64], Datatype: Float, Format: x }], TacticName: t1, StreamId: 0, \
Metadata: [ONNX Layer: stem]\x1f[ONNX Layer: x0.DQ]
Name: __myl_MulAddReluMulMinMaxRounCast_myl0_2, LayerType: kgen, Inputs: [ { Name: y0, Dimensions: [1,16,64,64], \
Datatype: Float, Format: x }], Constants: [], Outputs: [ { Name: q1, Dimensions: [1,64,64,64], Datatype: Int8, \
Format: x }], TacticName: t2, StreamId: 0, Metadata: [ONNX Layer: stem]\x1f[ONNX Layer: relu0]
Name: depthwise_myl0_3, LayerType: correlation, Inputs: [ { Name: q1, Dimensions: [1,64,64,64], Datatype: Int8, \
Format: x }], Constants: [ { Name: w1, Dimensions: [16,4,3,3], Datatype: Int8, Format: x }], Outputs: [ { Name: y1, \
Dimensions: [1,16,64,64], Datatype: Float, Format: x }], TacticName: t3, StreamId: 0, Metadata: [ONNX Layer: depthwise]
Name: __myl_FcAdd_myl0_4, LayerType: runtime_fusion, Inputs: [ { Name: y1, Dimensions: [1,16,4096], Datatype: Half, \
Format: x }], Constants: [ { Name: w2, Dimensions: [1,11,16], Datatype: Half, Format: x }], Outputs: [ { Name: x3, \
Dimensions: [1,11,4096], Datatype: Half, Format: x }], TacticName: , StreamId: 0, \
Metadata: [ONNX Layer: score]__gemm_from_conv1x1

I/O Tensors:
 Name: frame, IOMode: Input, DataType: UInt8, Dimensions: [1,64,64,3], Location: Device
"""


def tensorrt_line(name: str, type_: str, nodes: str = "") -> str:
    """A convolution as TensorRT 8 to 10 log it: other names, types inside a sentence, perhaps no metadata."""
    tensor = f"{{ Name: t, Location: Device, Dimensions: [1,16,64,64], Format/Datatype: {type_} }}"
    tail = f", Metadata: {nodes}" if nodes else ""
    return (
        f"Name: {name}, LayerType: CaskConvolution, Inputs: [ {tensor}], Outputs: [ {tensor}], ParameterType:"
        f' Convolution, Kernel: [3,3], Weights: {{"Type": "Int8", "Count": 432}}, TacticName: t, StreamId: 0{tail}'
    )
