"""What clients of OpenAI's APIs say and hear: Chat Completions and Responses to Messages, and answers back."""
