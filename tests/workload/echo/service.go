package echo

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	service = "bascule.test.Echo"
	unary   = "Unary"
	stream  = "Stream"
)

// Server answers both methods of the gRPC service. Its messages are google.protobuf.StringValue.
type Server interface {
	// Unary answers with an Answer as JSON.
	Unary(ctx context.Context, text string) (string, error)
	// Message answers one message of a stream with a Line.
	Message(text string) string
}

// Register gives s the service.
func Register(s grpc.ServiceRegistrar, server Server) {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*Server)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: unary, Handler: serveUnary}},
		Streams:     []grpc.StreamDesc{{StreamName: stream, Handler: serveStream, ServerStreams: true, ClientStreams: true}},
	}, server)
}

// Call makes one unary call with text over conn.
func Call(ctx context.Context, conn grpc.ClientConnInterface, text string) (string, error) {
	var answer wrapperspb.StringValue
	err := conn.Invoke(ctx, "/"+service+"/"+unary, wrapperspb.String(text), &answer)
	return answer.GetValue(), err
}

func serveUnary(server any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var text wrapperspb.StringValue
	if err := decode(&text); err != nil {
		return nil, err
	}
	answer, err := server.(Server).Unary(ctx, text.GetValue())
	return wrapperspb.String(answer), err
}

// serveStream ends well when the client has closed its side.
func serveStream(server any, stream grpc.ServerStream) error {
	for {
		var text wrapperspb.StringValue
		if err := stream.RecvMsg(&text); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(wrapperspb.String(server.(Server).Message(text.GetValue()))); err != nil {
			return err
		}
	}
}
