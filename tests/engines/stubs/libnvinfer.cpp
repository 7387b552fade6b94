// Every TensorRT library at once, as far as its Python bindings need it to be imported: nothing in here works.
// Compiled by tests/engines/record_tensorrt.py under each name that the bindings link to.
extern "C" {
void* createInferBuilder_INTERNAL(void*, int) { return nullptr; }
void* createInferRefitter_INTERNAL(void*, void*, int) { return nullptr; }
void* createInferRuntime_INTERNAL(void*, int) { return nullptr; }
void* createNvOnnxParser_INTERNAL(void*, void*, int) { return nullptr; }
void* createNvOnnxParserRefitter_INTERNAL(void*, void*, int) { return nullptr; }
void* createNvOnnxRefitter_INTERNAL(void*, void*, int) { return nullptr; }
void* getBuilderPluginRegistry(int) { return nullptr; }
void* getPluginRegistry() { return nullptr; }
int getNvOnnxParserVersion() { return 0; }
int getInferLibVersion() { return 0; }
bool initLibNvInferPlugins(void*, const char*) { return true; }
void* _ZN11nvuffparser15createUffParserEv() { return nullptr; }                     // TensorRT 8
void _ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi(void*, const char*, const void*, int, int) {}
void* _ZN14nvcaffeparser117createCaffeParserEv() { return nullptr; }
void _ZN14nvcaffeparser123shutdownProtobufLibraryEv() {}
}
