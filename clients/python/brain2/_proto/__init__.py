"""Generated from the .proto files by `make proto`: messages in a descriptor pool of their own."""

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, field_mask_pb2, timestamp_pb2

POOL = descriptor_pool.DescriptorPool()
for _file in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
    POOL.AddSerializedFile(_file.DESCRIPTOR.serialized_pb)
